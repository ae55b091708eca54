//! `install`: the runner as a unit of this host's systemd.

mod online;
mod unit;

pub use self::{
    online::Waiting,
    unit::{
        UnitError, credential, expect_no_login, expect_ours, expect_same_kind, expect_slice, expect_systemd,
        program,
    },
};

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use serde_json::json;

use super::{
    steps::{
        caching::Caching,
        confinement,
        container::container,
        housing::Housing,
        image::{Fetch, ReadyImage},
        push_only,
        record::{identity, lasting, record},
        registration,
        token::login,
        updating,
    },
    up::{OnHost, SWITCH, chosen_engine, listed_elsewhere, settle},
};
use crate::{
    config::{EngineChoice, Host, Settings, SettingsArgs},
    engine::{Cli, Container, Layout, SeccompProfile},
    github::GitHub,
    image::ImageReference,
    installation::{self, Accepted, Locked, Places, Record},
    progress::{Output, Progress},
    systemd::{self, Slots, Unit},
    value::ImageDigest,
};

/// Hand a runner to this host's systemd: a unit that starts it at boot and keeps it running
///
/// Does what `up` does before a container is there (what can reach the runner, the image's signature, the token), then
/// writes a Podman Quadlet (with docker or an older podman: a plain service), a slice as a second wall of limits, and
/// the rule for the folder through which a token goes in. The unit makes the container anew at every start, after it has
/// verified the image again; the registration and the Nix store are in volumes, so no start needs a new token. Run
/// again with other settings, it changes what must be: the job that runs ends first.
///
/// Exit codes are those of `up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sudo vega-builder install octo-org/heavy-builds --memory 12g --cpus 4
  gh auth token | sudo vega-builder install octo-org/heavy-builds --token-file /dev/stdin
  systemctl status vega-builder-vega-heavy-builds
  systemctl reload vega-builder-vega-heavy-builds
      start anew after the job that runs")]
pub struct Install {
    /// The repository whose jobs run here
    #[arg(value_name = "OWNER/REPO")]
    repository: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
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

/// The keeper of slots has it while a container begins.
const LOCK: Duration = Duration::from_secs(60);

/// What the steps share.
struct Installing<'a> {
    settings: &'a Settings,
    engine: &'a Cli,
    installation: Locked,
    progress: &'a Progress,
    before: Option<Record>,
}

impl Install {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        expect_systemd()?;
        let program = program()?;
        let progress = Progress::new(self.output);
        let host = Host::read().context("the host's memory and processors cannot be read from /proc")?;
        let mut settings = Settings::resolve(&self.settings, self.repository.as_deref(), &host)?;
        if let Some(runner) = settings.host.clone() {
            let (accept_strangers, wait) = (self.accept_strangers, Duration::from_secs(self.wait));
            let on_host = OnHost { settings, accept_strangers, wait, progress: &progress };
            return Box::pin(on_host.run(&runner)).await;
        }
        let image: ImageReference = settings.image.parse()?;
        let installation = Places::standard().installation(&settings.name);
        let before = installation.record()?;
        expect_ours(&installation, before.is_some())?;
        if let Some(before) = &before {
            settle(&mut settings, before, &installation)?;
        }
        let engine = chosen_engine(settings.engine)?;
        settings.engine =
            if engine.program() == "docker" { EngineChoice::Docker } else { EngineChoice::Podman };
        let seccomp = SeccompProfile::from_host()?;
        let credential = login(&settings.github, &settings.scope).await?;
        let github = GitHub::new(&settings.github.server, &settings.scope, &credential)?;
        // A pipe that was read once is nobody's file at the next boot.
        settings.github.token_file = settings.github.token_file.as_deref().and_then(lasting);
        updating::expect(settings.update.as_ref())?;
        unit::expect_credential(&settings)?;
        unit::expect_same_kind(&installation, &settings)?;
        if let Some(cache) = &mut settings.cache {
            unit::expect_no_login(cache)?;
            Caching::expect(cache)?;
        }
        unit::expect_slice(&settings.name)?;
        let installation = installation.lock_patiently(LOCK)?;
        let _switch = installation.hold_switch_patiently(SWITCH)?;
        let (is_first, had_store) = (before.is_none(), installation.store()?.is_some());
        let installing =
            Installing { settings: &settings, engine: &engine, installation, progress: &progress, before };
        let declared = Box::pin(self.declare(&installing, &github, image, &seccomp, program)).await;
        let Installing { installation, .. } = installing;
        let declared = match declared {
            Ok(declared) => declared,
            Err(error) => {
                // Nothing half done: what was refused before anything was declared leaves no files behind.
                if is_first && !installation.is_declared() {
                    installation.erase(had_store)?;
                }
                return Err(error);
            }
        };
        let places = installation.places();
        if installation.resume()? {
            progress.note("it was drained: it takes jobs again");
        }
        // Its unit takes the lock next.
        drop(installation);
        let housing = Housing::Container(engine);
        let waiting =
            Waiting { settings: &settings, housing: &housing, installation: &places, progress: &progress };
        let began = waiting.start(declared.changed)?;
        let wait = Duration::from_secs(self.wait);
        let runner = waiting.online(&github, began, declared.minted, wait).await?;
        waiting.tell(runner.as_ref(), &json!({ "digest": declared.digest }));
        Ok(ExitCode::SUCCESS)
    }

    /// Everything up to the unit's start.
    async fn declare(
        &self,
        installing: &Installing<'_>,
        github: &GitHub,
        image: ImageReference,
        seccomp: &SeccompProfile,
        program: PathBuf,
    ) -> anyhow::Result<Declaration> {
        let Installing { settings, engine, progress, before, .. } = installing;
        let fetch = Fetch {
            engine,
            trust: &settings.trust,
            image_file: settings.image_file.as_deref(),
            progress,
            before: before.as_ref(),
            allow_rollback: self.allow_rollback,
        };
        if before.is_none()
            && settings.ephemeral.is_none()
            && let Some(elsewhere) = listed_elsewhere(github, settings).await?
        {
            return Err(elsewhere.into());
        }
        let identity = identity(settings);
        let (accepted, image) = tokio::try_join!(
            push_only::demand(github, &identity, self.accept_strangers, progress),
            fetch.image(image)
        )?;
        let container = installing.container(seccomp, &image)?;
        let changed = installing.declare(&image, &container, accepted, program)?;
        let minted = registration::by_hand(github, &installing.installation, progress).await?;
        Ok(Declaration { changed, minted, digest: container.image.value().clone() })
    }
}

/// What came of the declaring.
struct Declaration {
    changed: bool,
    minted: bool,
    digest: ImageDigest,
}

impl Installing<'_> {
    fn container(&self, seccomp: &SeccompProfile, image: &ReadyImage) -> anyhow::Result<Container> {
        if image.local.layout == Layout::Foreign {
            return Err(installation::Error::NotOurLayout { image: image.reference.to_string() }.into());
        }
        let mut container = container(self.settings, self.engine, &self.installation, seccomp, image)?;
        container.unconfined = match &self.before {
            Some(before) if before.local_id == container.local_id => before.unconfined,
            _ => confinement::must_be_lifted(self.engine, &container, self.progress)?,
        };
        Ok(container)
    }

    /// The record first, with the digest that the unit is to run; then what it runs by. Whether something changed.
    fn declare(
        &self,
        image: &ReadyImage,
        container: &Container,
        accepted: Option<Accepted>,
        program: PathBuf,
    ) -> anyhow::Result<bool> {
        let step = self.progress.step("unit", "writing the unit");
        let before = self.before.as_ref();
        let record = record(self.settings, self.engine, container, before, accepted)?;
        let other_image = before.is_none_or(|before| before.local_id != record.local_id);
        self.installation.save_receipt(&image.receipt)?;
        self.installation.save(&record)?;
        let settings =
            Settings { userns_base: container.userns.map(|userns| userns.base), ..self.settings.clone() };
        let is_new = self.installation.declare(&settings)?;
        self.installation.make_handover(settings.userns_base)?;
        let is_podman = self.engine.program() == "podman";
        let unit = Unit {
            container,
            options: self.engine.unit_options(container),
            engine: systemd::program(self.engine.program()).context("the engine is gone")?,
            is_podman,
            is_quadlet: is_podman && systemd::has_quadlet() && self.engine.major_version()? >= 5,
            has_slices: self.engine.has_slices()?,
            credential: unit::credential(&settings),
            pusher: unit::pusher(&settings, self.engine, &self.installation, &program)?,
            slots: Slots::of(settings.ephemeral, settings.nix.store),
            program: program.clone(),
        };
        if !unit.has_slices {
            self.progress.note(
                "this engine has its own cgroups, not systemd's: the container's own caps are the one wall",
            );
        }
        let changed = unit.write()?;
        updating::arrange(&settings, Some(program))?;
        let kind = if unit.is_quadlet && unit.slots.is_none() { "a Quadlet" } else { "a service" };
        step.done(&format!("{} is {kind}", systemd::service_name(&self.settings.name)));
        // What each job's container is made with is in the declaration alone.
        Ok(changed || other_image || is_new && unit.slots.is_some())
    }
}
