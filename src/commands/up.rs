//! `up`: from a repository's name to a runner that GitHub lists as online.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;

use super::{
    register::{lay_token, needs_token},
    verify::{check, policy, summary},
};
use crate::{
    boot::{self, Boot},
    config::{EngineChoice, Host, Settings, SettingsArgs},
    contract::{self, Phase, env},
    engine::{
        self, Cli, Container, Handover, InForce, Inspected, Layout, LocalImage, SeccompProfile, Status,
        UserNamespace,
    },
    exit::NotOnline,
    github::{Credential, GitHub, Runner},
    image::{ImageReference, Registry, Resolved},
    installation::{Identity, Locked, Places, Record, Store},
    progress::{Output, Progress, Step},
    trust::Verified,
    value::ImageDigest,
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

/// What was here before.
struct Present {
    container: Option<Inspected>,
    /// The store's volume is there, but no start after its creation is on record.
    half_filled_store: bool,
}

/// An image that may run, as the engine holds it.
struct ReadyImage {
    reference: ImageReference,
    verified: Verified<ImageDigest>,
    image_id: ImageDigest,
    layout: Layout,
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

    /// Tag → digest, then its signature checked beside its download. A download that ends first waits:
    /// only what is verified goes on.
    async fn image(&self, reference: ImageReference) -> anyhow::Result<ReadyImage> {
        let policy = policy(&self.settings.trust)?;
        let registry = Registry::of(&reference);

        let step = self.progress.step("resolve", &format!("asking {} for {reference}", reference.registry()));
        let resolved = registry.resolve().await?;
        step.done(&format!("{reference} is {}", resolved.top.digest));

        let (verified, local) =
            tokio::try_join!(self.verify(&registry, &resolved, &policy), self.pull(&reference, &resolved))?;
        self.engine.expect_image(&local, &verified, &resolved.image_id, &reference.name())?;
        Ok(ReadyImage { reference, verified, image_id: resolved.image_id, layout: local.layout })
    }

    async fn verify(
        &self,
        registry: &Registry,
        resolved: &Resolved,
        policy: &crate::trust::Policy,
    ) -> anyhow::Result<Verified<ImageDigest>> {
        let step = self.progress.step("verify", "checking the signature");
        let verified = check(registry, resolved, policy).await?;
        step.done(&summary(&verified));
        Ok(verified)
    }

    /// Beside the signature's check, so in a thread of its own.
    async fn pull(&self, reference: &ImageReference, resolved: &Resolved) -> anyhow::Result<LocalImage> {
        let (name, digest) = (reference.name(), resolved.platform.digest.clone());
        let (engine, loopback) = (self.engine.clone(), reference.is_loopback());
        let step = self.progress.step("pull", &format!("downloading {name}"));
        let work = move || -> Result<_, engine::Error> {
            if let Some(local) = engine.local_image(&name, &digest)? {
                return Ok((local, "the image is here already"));
            }
            engine.pull(&name, &digest, loopback)?;
            engine.local_image(&name, &digest)?.map(|local| (local, "downloaded by digest")).ok_or_else(
                || {
                    let why = "the engine lost the image that it downloaded".to_owned();
                    engine::Error::Failed { command: format!("{} pull", engine.program()), why }
                },
            )
        };
        let (local, how) = tokio::task::spawn_blocking(work).await??;
        step.done(how);
        Ok(local)
    }

    fn container(&self, image: &ReadyImage) -> anyhow::Result<Container> {
        let settings = self.settings;
        let userns = self.user_namespace(image.layout)?;
        let seccomp = SeccompProfile::from_host()?.write(&self.installation.state.join("seccomp.json"))?;
        Ok(Container {
            name: settings.name.clone(),
            image: image.verified.clone(),
            image_name: image.reference.name(),
            image_id: image.image_id.clone(),
            layout: image.layout,
            caps: settings.caps,
            network: settings.network.clone(),
            env: environment(settings, image.layout),
            userns,
            handover: Handover(self.installation.handover.clone()),
            seccomp,
        })
    }

    /// A range of ids that no other runner of ours has; the same one for as long as the volumes live, because
    /// their files belong to it. Rootless podman and docker have no choice here.
    fn user_namespace(&self, layout: Layout) -> anyhow::Result<Option<UserNamespace>> {
        if self.engine.program() != "podman" || !nix::unistd::geteuid().is_root() || layout == Layout::Foreign
        {
            return Ok(None);
        }
        if let Some(base) = self.installation.store()?.and_then(|store| store.userns_base) {
            return Ok(Some(UserNamespace { base }));
        }
        let taken = Places::standard().userns_bases();
        let mut free = (0..4096).map(|slot| 0xf000_0000 + slot * UserNamespace::SIZE);
        Ok(free.find(|base| !taken.contains(base)).map(|base| UserNamespace { base }))
    }

    fn record(&self, image: &ReadyImage, container: &Container) -> anyhow::Result<Record> {
        let settings = self.settings;
        let before = self.installation.record()?;
        let identity = Identity {
            server: settings.github.server.clone(),
            repository: settings.repository.clone(),
            name: settings.name.clone(),
            labels: settings.labels.clone(),
        };
        let record = Record {
            engine: self.engine.program().to_owned(),
            image: image.reference.to_string(),
            digest: container.image.value().clone(),
            evidence: container.image.evidence().clone(),
            caps: settings.caps,
            registered: before.as_ref().and_then(|record| record.registered.clone()),
            token_lapses: before
                .filter(|record| record.identity == identity)
                .and_then(|record| record.token_lapses)
                .filter(|lapses| *lapses > Timestamp::now()),
            identity,
        };
        self.installation.save(&record)?;
        Ok(record)
    }

    /// What of this runner is here already; asked beside the registry, because each question to an engine
    /// costs as much as a signature's check.
    async fn present(&self) -> anyhow::Result<Present> {
        let name = self.settings.name.clone();
        let may_be_half_filled = self.installation.store()?.is_none_or(|store| store.seeded.is_none());
        let (engine, volume) = (self.engine.clone(), engine::store_volume(&name));
        let has_store = tokio::task::spawn_blocking(move || engine.has_volume(&volume));
        let engine = self.engine.clone();
        let container = tokio::task::spawn_blocking(move || engine.inspect(&name));
        let half_filled_store = has_store.await?? && may_be_half_filled;
        Ok(Present { container: container.await??, half_filled_store })
    }

    /// Create the container, unless the one that is there is what the settings ask for; whether it did.
    fn create(&self, container: &Container, present: Present) -> anyhow::Result<bool> {
        let step = self.progress.step("create", "creating the container");
        let owner = container.userns.map(|userns| userns.base);
        self.installation.make_handover(owner)?;
        let fingerprint = self.engine.fingerprint(container);
        match present.container {
            Some(present) if present.fingerprint == fingerprint => {
                step.done("the container is as asked for");
                return Ok(false);
            }
            Some(present) => {
                anyhow::ensure!(
                    !present.fingerprint.is_empty(),
                    "a container named {0} is there that is not ours; type `{1} rm {0}`, or choose another name with --name",
                    container.name,
                    self.engine.program(),
                );
                step.doing("the settings changed: replacing the container");
                self.engine.stop(&container.name)?;
                self.engine.remove(&container.name)?;
            }
            None => {}
        }
        self.installation.forget_state();
        if container.layout == Layout::Contract {
            self.seed(container, present.half_filled_store, &step)?;
        }
        self.engine.create(container)?;
        step.done(&format!("{} from {}", container.name, container.image.value().short()));
        Ok(true)
    }

    /// Make the store's volume ready for this image: a volume that an earlier image filled gets what is
    /// missing; one that may be half filled (a crash at the first start) is made anew by the engine.
    fn seed(&self, container: &Container, half_filled: bool, step: &Step<'_>) -> anyhow::Result<()> {
        let digest = container.image.value();
        let userns_base = container.userns.map(|userns| userns.base);
        let seeded = self.installation.store()?.and_then(|store| store.seeded);
        if seeded.as_ref() == Some(digest) {
            return Ok(());
        }
        self.installation.save_store(&Store { userns_base, seeded: seeded.clone() })?;
        if seeded.is_none() {
            if half_filled {
                self.engine.remove_volume(&container.store_volume())?;
            }
            return Ok(());
        }
        step.doing("adding the new image's store paths to the store");
        self.engine.seed(container)?;
        self.installation.save_store(&Store { userns_base, seeded: Some(digest.clone()) })?;
        Ok(())
    }

    /// Mint a registration token and hand it in, when the container needs one.
    async fn token(
        &self,
        github: &GitHub,
        container: &Container,
        record: &mut Record,
        created: bool,
    ) -> anyhow::Result<()> {
        let step = self.progress.step("token", "looking for a saved registration");
        let status = if created { Status::Created } else { self.inspect(container)?.status };
        let Some(why) = needs_token(self.engine, self.installation, container, record, status)? else {
            step.done("not needed: the saved registration serves");
            return Ok(());
        };
        step.doing(&format!("minting a registration token: {why}"));
        lay_token(self.engine, self.installation, github, container, record).await?;
        step.done("minted, handed in 0400, never in an argument or a variable");
        Ok(())
    }

    fn inspect(&self, container: &Container) -> anyhow::Result<Inspected> {
        self.engine.inspect(&container.name)?.context("the container is gone")
    }

    fn start(&self, container: &Container, created: bool) -> anyhow::Result<()> {
        let step = self.progress.step("start", "starting the container");
        if !created && self.inspect(container)?.status == Status::Running {
            step.done("it runs already");
            return Ok(());
        }
        self.engine.start(&container.name)?;
        step.done(&format!("{} runs", container.name));
        if container.layout == Layout::Contract {
            let userns_base = container.userns.map(|userns| userns.base);
            self.installation
                .save_store(&Store { userns_base, seeded: Some(container.image.value().clone()) })?;
        }
        Ok(())
    }

    /// Read the caps back; a container whose caps are not in force is stopped.
    fn prove_caps(&self, container: &Container) -> anyhow::Result<(Inspected, InForce)> {
        let step = self.progress.step("caps", "reading the caps back from the cgroup");
        let running = self.inspect(container)?;
        if running.pid == 0 {
            anyhow::bail!(self.not_online(container, "its container ended at once"));
        }
        let proven = InForce::of(running.pid).and_then(|caps| caps.prove(&container.caps).map(|()| caps));
        match proven {
            Ok(caps) => {
                step.done(&format!("in force: {}", container.caps));
                Ok((running, caps))
            }
            Err(error) => {
                self.engine.stop(&container.name)?;
                Err(error.into())
            }
        }
    }

    /// See to it that the runner comes back after a reboot of the host.
    fn arrange_boot(&self, container: &Container) -> anyhow::Result<()> {
        let step = self.progress.step("boot", "arranging the start after a reboot");
        if !boot::is_ours_to_arrange() {
            step.done("this host's boot is not ours to arrange: after a reboot, run this command again");
            return Ok(());
        }
        let boot = Boot {
            name: &container.name,
            handover: &self.installation.handover,
            owner: container.userns.map_or(0, |userns| userns.base),
            starter: (self.engine.program() == "podman").then(|| boot::program("podman")).flatten(),
        };
        let changed = boot.arrange()?;
        step.done(if changed {
            "a unit starts it after a reboot, without a new token"
        } else {
            "arranged already"
        });
        Ok(())
    }

    /// Wait until GitHub lists the runner as online, or its container says why it cannot be.
    async fn online(&self, github: &GitHub, container: &Container, wait: Duration) -> anyhow::Result<Runner> {
        let step = self.progress.step("online", "waiting for the runner to listen");
        let deadline = tokio::time::Instant::now() + wait;
        let mut pause = Duration::from_millis(200);
        loop {
            let state = self.installation.runner_state();
            let listens = state.as_ref().is_none_or(|s| matches!(s.phase, Phase::Listening | Phase::Busy));
            if listens
                && let Some(runner) = github.runner(&container.name).await?
                && runner.is_online()
                && runner.has_labels(&self.settings.labels)
            {
                step.done(&format!(
                    "{} is runner {} at {}",
                    runner.name, runner.id, self.settings.repository
                ));
                return Ok(runner);
            }
            let message = state.as_ref().map(|state| state.message.clone()).unwrap_or_default();
            if !message.is_empty() {
                step.doing(&message);
            }
            let refused = state.is_some_and(|state| match state.phase {
                Phase::WaitingForToken => !self.installation.has_token(),
                Phase::Stopping => true,
                _ => false,
            });
            if refused && !message.is_empty() {
                anyhow::bail!(self.not_online(container, &message));
            }
            let gone = self.engine.inspect(&container.name)?.is_none_or(|now| now.status == Status::Stopped);
            if gone {
                anyhow::bail!(self.not_online(container, "its container ended"));
            }
            if tokio::time::Instant::now() >= deadline {
                let why = format!("GitHub does not list it as online after {} s; {message}", wait.as_secs());
                anyhow::bail!(self.not_online(container, why.trim_end_matches("; ")));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(2));
        }
    }

    fn not_online(&self, container: &Container, why: &str) -> NotOnline {
        let log = self.engine.last_log(&container.name, 3);
        let last =
            log.lines().next_back().map_or_else(String::new, |line| format!(" (its last line: {line})"));
        NotOnline { name: container.name.to_string(), why: format!("{why}{last}") }
    }
}

/// The image's environment contract, without any secret.
fn environment(settings: &Settings, layout: Layout) -> BTreeMap<&'static str, String> {
    let token = match layout {
        Layout::Contract => format!("{}/{}", contract::HANDOVER_MOUNT, contract::HANDOVER_TOKEN),
        Layout::Foreign => contract::FOREIGN_TOKEN.to_owned(),
    };
    let mut variables = BTreeMap::from([
        (env::MODE, "runner".to_owned()),
        (env::OWNER, settings.repository.owner().to_owned()),
        (env::REPOSITORY, settings.repository.name().to_owned()),
        (env::TOKEN_FILE, token),
        (env::RUNNER_NAME, settings.name.to_string()),
        (env::LABELS, settings.labels.to_string()),
        (env::SANDBOX, settings.nix.sandbox.to_string()),
        (env::MAX_JOBS, settings.nix.max_jobs.to_string()),
        (env::CORES, settings.nix.cores.to_string()),
    ]);
    if settings.github.server.host_str() != Some("github.com") {
        variables.insert(env::SERVER_URL, settings.github.server.as_str().trim_end_matches('/').to_owned());
    }
    let more = [
        (env::EXTRA_SUBSTITUTERS, &settings.nix.extra_substituters),
        (env::EXTRA_KEYS, &settings.nix.extra_trusted_public_keys),
    ];
    variables.extend(
        more.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, value.clone())),
    );
    variables
}
