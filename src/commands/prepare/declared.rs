//! For a container that a unit is about to make: everything but its making.

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;

use super::again::again;
use crate::{
    commands::steps::{
        caching::Caching,
        container::container,
        declared::Declared,
        image::{Fetch, ReadyImage},
        metadata,
        pruning::prune_images,
        record::record,
        registration,
    },
    engine::{Cli, Container, Layout, SeccompProfile, Status, local_name, queue_volume},
    image::ImageReference,
    installation::{self, Locked, Record, Store},
    progress::Progress,
    systemd::{self, pusher_service_name},
};

/// One start of a declared runner.
pub struct Start<'a> {
    declared: Declared,
    installation: &'a Locked,
    progress: &'a Progress,
    /// What an earlier start noted.
    before: Option<Record>,
}

pub async fn prepare(installation: &Locked, progress: &Progress, ahead: bool) -> anyhow::Result<ExitCode> {
    let declared = Declared::read(installation)?;
    if let Some(runner) = declared.settings.host.clone() {
        return super::host::prepare(&declared, &runner, installation, progress, ahead).await;
    }
    let start = Start::of(declared, installation, progress)?;
    let (image, offline) = start.image().await?;
    let name = &installation.name;
    let digest = image.verified.value().clone();
    let result = json!({
        "name": name, "digest": digest, "offline": offline, "evidence": image.verified.evidence(),
    });
    // Typed by a person, it takes nothing from under a runner that works.
    let runs = || -> anyhow::Result<bool> {
        let found = start.engine()?.inspect(name.as_str())?;
        Ok(found.is_some_and(|found| found.status == Status::Running))
    };
    // An ephemeral runner's containers are made by who keeps its slots.
    if ahead || start.declared.settings.ephemeral.is_some() || !super::is_of_a_unit() && runs()? {
        progress.result(&format!("{name} can run {} next", digest.short()), &result);
        return Ok(ExitCode::SUCCESS);
    }
    let container = start.container(&image)?;
    start.store(&container)?;
    start.engine()?.name_image(&container.local_id, &local_name(name))?;
    registration::at_start(&start.declared, installation, progress).await?;
    start.note(&image, &container)?;
    prune_images(start.engine()?, progress);
    if let Err(why) = start.pusher(&container) {
        // Builds wait in their queue: that is no reason to run none.
        let unit = pusher_service_name(name);
        progress.note(&format!(
            "builds are not pushed until this is mended: {why:#}; then type `systemctl restart {unit}`"
        ));
    }
    metadata::deny(name);
    // What the last life said of itself says nothing of the next.
    installation.forget_state();
    progress.result(&format!("{name} may start: {} is verified", image.reference), &result);
    Ok(ExitCode::SUCCESS)
}

impl<'a> Start<'a> {
    pub fn of(declared: Declared, installation: &'a Locked, progress: &'a Progress) -> anyhow::Result<Self> {
        let before = installation.record()?;
        Ok(Self { declared, installation, progress, before })
    }

    fn engine(&self) -> Result<&Cli, installation::Error> {
        self.declared.engine()
    }

    /// The image that ran last, verified again; or, when the declaration names another one, that one. A tag is resolved
    /// once: a restart at night brings nothing new.
    pub async fn image(&self) -> anyhow::Result<(ReadyImage, bool)> {
        let (settings, engine) = (&self.declared.settings, self.engine()?);
        let image: ImageReference = settings.image.parse()?;
        if let Some(record) = self.before.as_ref().filter(|record| record.image == image.to_string()) {
            // By whom it must be signed is the declaration's to say, today.
            let (trust, image_file) = (settings.trust.clone(), settings.image_file.clone());
            let record = Record { trust, image_file, ..record.clone() };
            let receipt = self.installation.receipt()?;
            return again(&record, receipt.as_ref(), engine, self.progress).await;
        }
        let fetch = Fetch {
            engine,
            trust: &settings.trust,
            image_file: settings.image_file.as_deref(),
            progress: self.progress,
            before: self.before.as_ref(),
            allow_rollback: true,
        };
        Ok((fetch.image(image).await?, false))
    }

    /// What the unit makes: its privileges are those of the one-shot container that fills its store.
    pub fn container(&self, image: &ReadyImage) -> anyhow::Result<Container> {
        if image.local.layout == Layout::Foreign {
            return Err(installation::Error::NotOurLayout { image: image.reference.to_string() }.into());
        }
        let (settings, engine) = (&self.declared.settings, self.engine()?);
        let seccomp = SeccompProfile::from_host()?;
        let container = container(settings, engine, self.installation, &seccomp, image)?;
        self.installation.make_handover(container.userns.map(|userns| userns.base))?;
        Ok(container)
    }

    /// Every store path of this image in the volume: added to what is there, or, where that is damaged, laid anew.
    fn store(&self, container: &Container) -> anyhow::Result<()> {
        let engine = self.engine()?;
        let step = self.progress.step("store", "looking at the store");
        // What a crash left would hold the volume.
        engine.remove(container.name.as_str())?;
        if self.installation.runner_state().is_some_and(|state| state.damaged) {
            step.doing("the store is damaged: laying it anew");
            self.note_seeded(container, false)?;
            engine.remove_volume(&container.store_volume())?;
        }
        let seeded = self.installation.store()?.and_then(|store| store.seeded);
        if seeded.as_ref() == Some(container.image.value()) && engine.has_volume(&container.store_volume())? {
            step.done("it has every path of the image");
            return Ok(());
        }
        step.doing("adding the image's store paths");
        self.note_seeded(container, false)?;
        engine.seed(container)?;
        self.note_seeded(container, true)?;
        step.done("the image's store paths are in it");
        Ok(())
    }

    fn note_seeded(&self, container: &Container, whole: bool) -> anyhow::Result<()> {
        let userns_base = container.userns.map(|userns| userns.base);
        let seeded = whole.then(|| container.image.value().clone());
        Ok(self.installation.save_store(&Store { userns_base, seeded })?)
    }

    /// What pushes its builds reads what they are to go by; it is started when it is not there.
    fn pusher(&self, container: &Container) -> anyhow::Result<()> {
        let (settings, engine) = (&self.declared.settings, self.engine()?);
        let name = &settings.name;
        if settings.cache.is_none() {
            return Ok(self.installation.forget_cache()?);
        }
        engine.make_volume(&queue_volume(name), name)?;
        Caching::keep(self.installation, settings, Some(container), Timestamp::now())?;
        if super::is_of_a_unit() {
            // It may be pausing before its next try.
            systemd::systemctl(&["start", "--no-block", &pusher_service_name(name)])?;
        }
        Ok(())
    }

    pub fn note(&self, image: &ReadyImage, container: &Container) -> anyhow::Result<()> {
        let (settings, engine) = (&self.declared.settings, self.engine()?);
        let before = self.before.as_ref();
        self.installation.save_receipt(&image.receipt)?;
        let accepted = self.installation.accepted()?;
        let unconfined = before.is_some_and(|record| record.unconfined);
        let record = record(settings, engine, container, before, accepted)?;
        Ok(self.installation.save(&Record { unconfined, ..record })?)
    }
}
