//! The container that the settings ask for, made unless it is there already.

use std::collections::BTreeMap;

use super::{Up, image::ReadyImage};
use crate::{
    config::Settings,
    contract::{self, env},
    engine::{self, Container, Handover, Inspected, Layout, SeccompProfile, UserNamespace},
    installation::{Places, Store},
    progress::Step,
};

/// What was here before.
pub(super) struct Present {
    pub container: Option<Inspected>,
    /// The store's volume is there, but no start after its creation is on record.
    half_filled_store: bool,
}

impl Up<'_> {
    pub(super) fn container(&self, image: &ReadyImage) -> anyhow::Result<Container> {
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

    /// What of this runner is here already; asked beside the registry, because each question to an engine
    /// costs as much as a signature's check.
    pub(super) async fn present(&self) -> anyhow::Result<Present> {
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
    pub(super) fn create(&self, container: &Container, present: Present) -> anyhow::Result<bool> {
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
