//! The container that the settings ask for, and its making.

use std::collections::BTreeMap;

use super::{Up, before::Plan, confinement, image::ReadyImage};
use crate::{
    config::Settings,
    contract::{self, env},
    engine::{Container, Handover, Layout, UserNamespace},
    installation::{Places, Store},
    progress::Step,
};

impl Up<'_> {
    pub(super) fn container(&self, image: &ReadyImage) -> anyhow::Result<Container> {
        let settings = self.settings;
        let userns = self.user_namespace()?;
        let seccomp = self.seccomp.write(&self.installation.seccomp())?;
        let mut container = Container {
            name: settings.name.clone(),
            image: image.verified.clone(),
            image_name: image.reference.name(),
            local_id: image.local.id.clone(),
            layout: image.local.layout,
            caps: settings.caps,
            network: settings.network.clone(),
            env: environment(settings, image.local.layout),
            userns,
            handover: Handover(self.installation.handover.clone()),
            seccomp,
            unconfined: false,
        };
        container.unconfined = match &self.before {
            Some(before) if before.local_id == container.local_id => before.unconfined,
            _ => confinement::must_be_lifted(self.engine, &container, self.progress)?,
        };
        Ok(container)
    }

    /// A range of ids that no other runner of ours has. Rootless podman and docker have no choice here.
    fn user_namespace(&self) -> anyhow::Result<Option<UserNamespace>> {
        if self.engine.program() != "podman" || !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        let base = Places::standard().userns_base(self.installation)?;
        Ok(Some(UserNamespace { base }))
    }

    /// Make the container, or leave the one that is there.
    pub(super) fn create(&self, container: &Container, plan: &Plan) -> anyhow::Result<()> {
        let step = self.progress.step("create", "creating the container");
        self.installation.make_handover(container.userns.map(|userns| userns.base))?;
        match plan {
            Plan::Keep(_) => {
                step.done("the container is as asked for");
                return Ok(());
            }
            Plan::Replace { remake_store: false } => self.replace(container, &step)?,
            Plan::Replace { remake_store: true } => {
                step.doing("the store is not whole: making it anew");
                // Noted first: a crash in between must not leave a store that counts as whole.
                self.note_seeded(container, false)?;
                self.engine.remove(container.name.as_str())?;
                self.engine.remove_volume(&container.store_volume())?;
                self.create_first(container)?;
            }
            Plan::Create => self.create_first(container)?,
        }
        step.done(&format!("{} from {}", container.name, container.image.value().short()));
        Ok(())
    }

    fn create_first(&self, container: &Container) -> anyhow::Result<()> {
        if self.before.is_some() {
            // What a crash left between its creation and its renaming.
            self.engine.remove(&container.successor_name())?;
        }
        if container.layout == Layout::Contract {
            match self.installation.store()?.and_then(|store| store.seeded) {
                // Noted before there is a volume: from here on it is ours.
                None => self.note_seeded(container, false)?,
                Some(seeded) if seeded == *container.image.value() => {}
                Some(_) => self.engine.seed(container)?,
            }
        }
        Ok(self.engine.create(container, container.name.as_str())?)
    }

    /// The new container stands beside the old one until nothing can go wrong any more; on an error the old one
    /// runs on.
    fn replace(&self, container: &Container, step: &Step<'_>) -> anyhow::Result<()> {
        let successor = container.successor_name();
        self.engine.remove(&successor)?;
        self.engine.create(container, &successor)?;
        step.doing("the settings changed: replacing the container");
        self.engine.stop(&container.name)?;
        if container.layout == Layout::Contract && self.seeded_by_another(container)? {
            step.doing("adding the new image's store paths to the store");
            if let Err(error) = self.engine.seed(container) {
                let _ = self.engine.remove(&successor);
                self.engine.start(&container.name)?;
                return Err(error.into());
            }
        }
        self.engine.remove(container.name.as_str())?;
        Ok(self.engine.rename(&successor, &container.name)?)
    }

    /// Whether the store was filled by an earlier image, so that this one's paths must be added.
    fn seeded_by_another(&self, container: &Container) -> anyhow::Result<bool> {
        let seeded = self.installation.store()?.and_then(|store| store.seeded);
        Ok(seeded.is_some_and(|seeded| seeded != *container.image.value()))
    }

    /// Note whether every store path of this image is in the volume, as far as we know.
    pub(super) fn note_seeded(&self, container: &Container, whole: bool) -> anyhow::Result<()> {
        let userns_base = container.userns.map(|userns| userns.base);
        let now = Store { userns_base, seeded: whole.then(|| container.image.value().clone()) };
        if self.installation.store()?.as_ref() != Some(&now) {
            self.installation.save_store(&now)?;
        }
        Ok(())
    }
}

/// The image's environment contract, without any secret.
fn environment(settings: &Settings, layout: Layout) -> BTreeMap<&'static str, String> {
    let token = match layout {
        Layout::Contract => format!("{}/{}", contract::HANDOVER_MOUNT, contract::HANDOVER_TOKEN),
        Layout::Foreign => contract::FOREIGN_TOKEN.to_owned(),
    };
    let caps = &settings.caps;
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
        (env::CAPS, format!("memory={},millicpus={},pids={}", caps.memory.0, caps.cpus.millis, caps.pids)),
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
