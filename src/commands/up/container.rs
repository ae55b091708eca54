//! The container's making, or its keeping.

use super::{Up, before::Plan};
use crate::{
    engine::{Container, Layout, predecessor_name, pusher_name},
    installation::Store,
    progress::Step,
};

impl Up<'_> {
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
                // It has the volume as well; what it was at is in the queue.
                self.engine.remove(&pusher_name(&container.name))?;
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
            self.engine.remove(&predecessor_name(&container.name))?;
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
        self.engine.remove(&predecessor_name(&container.name))?;
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
        Ok(self.engine.rename(&successor, container.name.as_str())?)
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
