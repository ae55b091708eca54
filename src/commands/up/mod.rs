//! `up`: from a repository's name to a runner that GitHub lists as online.

mod container;
mod image;
mod online;
mod start;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use serde_json::json;

use crate::{
    config::{EngineChoice, Host, Settings, SettingsArgs},
    engine::{self, Cli},
    github::{Credential, GitHub},
    image::ImageReference,
    installation::{Locked, Places},
    progress::{Output, Progress},
};

/// Put this machine behind a repository's `runs-on: [self-hosted, vega]`
///
/// Resolves the runner image to a digest, verifies its signature, downloads it by digest, creates its
/// container under hard caps, hands a short-lived registration token in, starts it, proves the caps from
/// the cgroup, and waits until GitHub lists the runner as online. Run again, it changes nothing; run with
/// other settings, it makes anew exactly what must be. A restart or reboot needs no new token.
///
/// Exit codes: 2 settings, 3 image not trusted, 4 registry, 5 GitHub, 6 engine, 7 caps not in force,
/// 8 runner not online, 9 this host.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder up octo-org/heavy-builds
      with Vega's image, and caps that leave this machine headroom
  vega-builder up octo-org/heavy-builds --memory 12g --cpus 4 --labels self-hosted,vega,big
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
    /// How long to wait for the runner to come online, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    wait: u64,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What the steps share.
pub struct Up<'a> {
    pub settings: &'a Settings,
    pub engine: &'a Cli,
    pub installation: &'a Locked,
    pub progress: &'a Progress,
}
impl UpCommand {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let host = Host::read().context("the host's memory and processors cannot be read from /proc")?;
        let settings = Settings::resolve(&self.settings, self.repository.as_deref(), &host)?;
        let image: ImageReference = settings.image.parse()?;
        let engine = chosen_engine(settings.engine)?;
        let credential = Credential::find(
            settings.github.token_file.as_deref(),
            settings.github.server.host_str().unwrap_or("github.com"),
        )?;
        let github = GitHub::new(&settings.github.server, &settings.repository, &credential)?;
        let installation = Places::standard().installation(&settings.name).lock()?;
        let up =
            Up { settings: &settings, engine: &engine, installation: &installation, progress: &progress };

        up.say_caps();
        // Asked first: who may not administer the repository should not download an image for it.
        up.may_administer(&github).await?;
        let (image, present) = tokio::try_join!(up.image(image), up.present())?;
        let container = up.container(&image)?;
        let mut record = up.record(&image, &container)?;
        let created = up.create(&container, present)?;
        if let Err(error) = up.token(&github, &container, &mut record, created).await {
            // Nothing half done: a container that cannot register is not left for somebody to start.
            if created {
                up.engine.remove(&container.name)?;
            }
            return Err(error);
        }
        up.start(&container, created)?;
        let (running, caps) = up.prove_caps(&container)?;
        up.arrange_boot(&container)?;
        let runner = up.online(&github, &container, Duration::from_secs(self.wait)).await?;
        record.registered = Some(record.identity.clone());
        record.token_lapses = None;
        installation.save(&record)?;

        let text = format!(
            "{} is online and takes jobs with runs-on: [{}]",
            settings.name,
            settings.labels.iter().collect::<Vec<_>>().join(", ")
        );
        progress.result(
            &text,
            &json!({
                "name": settings.name,
                "repository": settings.repository,
                "digest": container.image.value(),
                "container": running.id,
                "runner_id": runner.id,
                "caps": { "asked": settings.caps, "in_force": caps },
            }),
        );
        Ok(ExitCode::SUCCESS)
    }
}

pub fn chosen_engine(choice: EngineChoice) -> Result<Cli, engine::Error> {
    engine::detect(match choice {
        EngineChoice::Auto => None,
        EngineChoice::Podman => Some("podman"),
        EngineChoice::Docker => Some("docker"),
    })
}

impl Up<'_> {
    fn say_caps(&self) {
        let caps = &self.settings.caps;
        let [memory, cpus, pids] = &self.settings.caps_origin;
        self.progress.note(&format!("memory {}: {memory}", caps.memory));
        self.progress.note(&format!("cpus   {}: {cpus}", caps.cpus));
        self.progress.note(&format!("pids   {}: {pids}", caps.pids));
        if self.settings.network.as_deref() == Some("host") {
            self.progress.note("network host: jobs can reach every service on this machine's loopback");
        }
    }

    /// Whether the credential can see the repository's runners: the same right as minting needs.
    async fn may_administer(&self, github: &GitHub) -> anyhow::Result<()> {
        let step = self.progress.step("github", "asking for the repository's runners");
        let runner = github.runner(&self.settings.name).await?;
        let (name, repository) = (&self.settings.name, &self.settings.repository);
        step.done(&match runner {
            Some(runner) => format!("{name} is runner {} of {repository}, {}", runner.id, runner.status),
            None => format!("{repository} has no runner {name} yet"),
        });
        Ok(())
    }
}
