//! `up`: from a repository's name to a runner that GitHub lists as online.

mod before;
mod container;
mod host;
mod online;
mod start;
mod telling;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;

use self::before::Asked;
pub use self::{before::settle, host::OnHost};
use super::{
    install::expect_slice,
    steps::{
        caching::Caching,
        confinement,
        container::{container, slice},
        image::{Fetch, ReadyImage},
        pruning::prune_images,
        push_only,
        pushing::keep_pusher,
        record::identity,
        token, updating,
    },
};
use crate::{
    config::{EngineChoice, Host, Settings, SettingsArgs},
    engine::{self, Cli, Container, SeccompProfile},
    github::{self, GitHub, Runner},
    image::ImageReference,
    installation::{self, Locked, Places, Record},
    progress::{Output, Progress},
    systemd,
    value::RunnerName,
};

/// What a look for a newer image takes, as a timer's update has it.
pub const SWITCH: Duration = Duration::from_secs(20);

/// Put this machine behind a repository's `runs-on: [self-hosted, vega]`
///
/// Resolves the runner image to a digest, verifies its signature, downloads it by digest, mints a short-lived
/// registration token, creates the image's container under hard caps, hands the token in, starts it, proves the
/// caps from the cgroup, and waits until GitHub lists the runner as online. Run again, it changes nothing; run
/// with other settings, it makes anew exactly what must be, and never cancels a job for it unless --now is
/// given. A restart or reboot needs no new token.
///
/// Exit codes: 2 settings, 3 image not trusted, 4 registry, 5 GitHub, 6 engine, 7 caps not in force,
/// 8 runner not online, 9 this host, 10 strangers can reach this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder up octo-org/heavy-builds
      with Vega's image, and caps that leave this machine headroom
  vega-builder up octo-org/heavy-builds --memory 12g --cpus 4 --labels self-hosted,vega,big
  vega-builder up --organization octo-org --runner-group heavy-builds
      for the organisation's repositories that may use that group
  VEGA_BUILDER_MEMORY=12g vega-builder up octo-org/heavy-builds --output json
  vega-builder up
      with everything from /etc/vega-builder/config.toml:
        repository = \"octo-org/heavy-builds\"
        labels = [\"self-hosted\", \"vega\"]
        [caps]
        memory = \"12g\"
        cpus = 4

Then, in a workflow that only pushes start:
  on: push
  jobs:
    build:
      runs-on: [self-hosted, vega]")]
pub struct UpCommand {
    /// The repository whose jobs run here
    #[arg(value_name = "OWNER/REPO")]
    repository: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Replace the container even while it runs a job, which is cancelled
    #[arg(long)]
    now: bool,
    /// Run an older image than the one that runs here, though the tag is the same
    #[arg(long)]
    allow_rollback: bool,
    /// Go on although strangers can start jobs on this machine; `status` shows it for ever
    #[arg(long = "i-accept-strangers-code-on-this-machine")]
    accept_strangers: bool,
    /// How long to wait for the runner to come online, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    wait: u64,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What the steps share.
pub struct Up<'a> {
    settings: &'a Settings,
    engine: &'a Cli,
    installation: &'a Locked,
    progress: &'a Progress,
    seccomp: SeccompProfile,
    /// What updates it by itself, where that is asked for.
    updater: Option<PathBuf>,
    /// The record of an earlier `up` for this runner.
    before: Option<Record>,
    consents: Consents,
    busy_at_github: bool,
}

/// What the person said that may happen.
#[derive(Debug, Clone, Copy)]
struct Consents {
    /// A job may be cancelled.
    now: bool,
    /// An older image may run.
    rollback: bool,
    /// Strangers may start jobs here.
    strangers: bool,
}

impl UpCommand {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let host = Host::read().context("the host's memory and processors cannot be read from /proc")?;
        let mut settings = Settings::resolve(&self.settings, self.repository.as_deref(), &host)?;
        expect_slice(&settings.name)?;
        if let Some(runner) = settings.host.clone() {
            let (accept_strangers, wait) = (self.accept_strangers, Duration::from_secs(self.wait));
            let on_host = OnHost { settings, accept_strangers, wait, progress: &progress };
            return Box::pin(on_host.run(&runner)).await;
        }
        let image: ImageReference = settings.image.parse()?;
        let places = Places::standard().installation(&settings.name);
        if places.is_declared() {
            let (name, file) = (settings.name.to_string(), places.declaration.clone());
            let next = format!("{}, or choose another name with --name", places.to_change());
            return Err(crate::installation::Error::Declared { name, file, next }.into());
        }
        if settings.ephemeral.is_some() {
            return Err(crate::commands::install::UnitError::NoUnit.into());
        }
        let before = places.record()?;
        if let Some(before) = &before {
            settle(&mut settings, before, &places)?;
        }
        let engine = chosen_engine(settings.engine)?;
        // Before anything is downloaded for nothing.
        let seccomp = SeccompProfile::from_host()?;
        if let Some(cache) = &mut settings.cache {
            Caching::expect(cache)?;
        }
        let updater = updating::expect(settings.update.as_ref())?;
        let credential = token::login(&settings.github, &settings.scope).await?;
        let github = GitHub::new(&settings.github.server, &settings.scope, &credential)?;
        let installation = places.lock()?;
        // Who changes its image has no job start, and says himself when that is over.
        let _switch = installation.hold_switch_patiently(SWITCH)?;
        let engine = engine.holding(installation.right()?);
        let asked = Asked::about(&settings.name, &engine);
        let (is_first, had_store) = (before.is_none(), installation.store()?.is_some());
        let up = Up {
            settings: &settings,
            engine: &engine,
            installation: &installation,
            progress: &progress,
            seccomp,
            updater,
            before,
            consents: Consents {
                now: self.now,
                rollback: self.allow_rollback,
                strangers: self.accept_strangers,
            },
            busy_at_github: false,
        };
        let result = Box::pin(up.run(&github, image, asked, Duration::from_secs(self.wait))).await;
        // Nothing half done: what never came to a container leaves no files behind.
        if result.is_err() && is_first && is_nowhere(&engine, &settings.name) {
            systemd::forget(&settings.name)?;
            installation.erase(had_store)?;
        }
        result
    }
}

/// Whether the engine has nothing of this runner's; what could not be asked counts as something.
fn is_nowhere(engine: &Cli, name: &RunnerName) -> bool {
    let has_no_container = matches!(engine.inspect(name.as_str()), Ok(None));
    has_no_container && engine.volumes(&format!("{name}-")).is_ok_and(|volumes| volumes.is_empty())
}

pub fn chosen_engine(choice: EngineChoice) -> Result<Cli, engine::Error> {
    engine::detect(match choice {
        EngineChoice::Auto => None,
        EngineChoice::Podman => Some("podman"),
        EngineChoice::Docker => Some("docker"),
    })
}

impl Up<'_> {
    /// The way of one `up`.
    async fn run(
        mut self,
        github: &GitHub,
        image: ImageReference,
        asked: Asked,
        wait: Duration,
    ) -> anyhow::Result<ExitCode> {
        self.say_caps();
        // Asked first: who may not see the repository's runners should not download an image for it.
        self.busy_at_github = self.is_busy_at(github).await?;
        let fetch = self.fetch();
        let identity = identity(self.settings);
        let (accepted, image, present) = tokio::try_join!(
            push_only::demand(github, &identity, self.consents.strangers, self.progress),
            fetch.image(image),
            asked.answer(&self.settings.name)
        )?;
        self.expect_ours(&present, image.local.layout)?;
        if let (Some(accepted), Some(before)) = (&accepted, &mut self.before) {
            // On disk before anything changes: `status` tells of it whatever happens to us from here on.
            before.accepted = Some(accepted.clone());
            self.installation.save(before)?;
        }
        let container = self.container(&image)?;
        self.say_weaknesses(&container);
        let plan = self.plan(&container, present)?;
        let mut record = self.record(&container, accepted)?;
        let token = self.mint(github, &container, &record, &plan).await?;
        let minted = token.is_some();
        if self.before.is_none() {
            // Whatever happens to us from here on, `down` must find it.
            self.installation.save(&record)?;
        }
        if self.installation.resume()? {
            self.progress.note("it was drained: it takes jobs again");
        }
        if container.slice.is_some() {
            systemd::make_slice(&container.name)?;
        }
        let at_rest = self.come_to_rest(github, &plan).await?;
        self.create(&container, &plan)?;
        // What is started now takes jobs.
        drop(at_rest);
        self.installation.save_receipt(&image.receipt)?;
        self.installation.keep_settings(self.settings)?;
        if self.before.is_some() {
            self.installation.save(&record)?;
        }
        let at = Timestamp::now();
        let started = (|| {
            self.hand_in(token, &container, &mut record)?;
            self.start(&container, &plan)?;
            self.prove_caps(&container)
        })();
        let (running, caps) = match started {
            Ok(started) => started,
            Err(error) => {
                // A token that nobody will read does not stay.
                self.installation.discard_token()?;
                record.token_lapses = None;
                self.installation.save(&record)?;
                return Err(error);
            }
        };
        keep_pusher(self.engine, self.installation, self.settings, &container, at, self.progress)?;
        self.arrange_boot(&container)?;
        let runner = self.online(github, &container, &mut record, minted, wait).await?;
        prune_images(self.engine, self.progress);

        let settings = self.settings;
        let text = format!(
            "{} is online and takes jobs with runs-on: [{}]",
            settings.name,
            settings.labels.iter().collect::<Vec<_>>().join(", ")
        );
        self.progress.result(
            &text,
            &json!({
                "name": settings.name,
                "repository": settings.scope,
                "digest": container.image.value(),
                "container": running.id,
                "runner_id": runner.id,
                "caps": { "asked": settings.caps, "in_force": caps },
            }),
        );
        Ok(ExitCode::SUCCESS)
    }

    fn fetch(&self) -> Fetch<'_> {
        Fetch {
            engine: self.engine,
            trust: &self.settings.trust,
            image_file: self.settings.image_file.as_deref(),
            progress: self.progress,
            before: self.before.as_ref(),
            allow_rollback: self.consents.rollback,
        }
    }

    fn container(&self, image: &ReadyImage) -> anyhow::Result<Container> {
        let mut container = container(self.settings, self.engine, self.installation, &self.seccomp, image)?;
        container.unconfined = match &self.before {
            Some(before) if before.local_id == container.local_id => before.unconfined,
            _ => confinement::must_be_lifted(self.engine, &container, self.progress)?,
        };
        container.slice = slice(self.engine, &container.name)?;
        Ok(container)
    }

    /// Whether the credential can see the repository's runners, and whether ours is at work.
    async fn is_busy_at(&self, github: &GitHub) -> anyhow::Result<bool> {
        let step = self.progress.step("github", "asking for the repository's runners");
        let runner = github.runner(&self.settings.name).await?;
        let (name, repository) = (&self.settings.name, &self.settings.scope);
        step.done(&match &runner {
            Some(runner) => format!("{name} is runner {} of {repository}, {}", runner.id, runner.status),
            None => format!("{repository} has no runner {name} yet"),
        });
        if self.before.is_none() && runner.as_ref().is_some_and(Runner::is_online) {
            return Err(elsewhere(github, self.settings).into());
        }
        Ok(runner.is_some_and(|runner| runner.busy))
    }
}

/// Why a runner that was never here cannot be made: another one of its name is online, and a registration of ours would push
/// it out.
pub async fn listed_elsewhere(
    github: &GitHub,
    settings: &Settings,
) -> Result<Option<installation::Error>, github::Error> {
    let runner = github.runner(&settings.name).await?;
    Ok(runner.is_some_and(|runner| runner.is_online()).then(|| elsewhere(github, settings)))
}

fn elsewhere(github: &GitHub, settings: &Settings) -> installation::Error {
    let (name, scope) = (settings.name.to_string(), settings.scope.to_string());
    installation::Error::Elsewhere { name, scope, page: github.page("/settings/actions/runners") }
}
