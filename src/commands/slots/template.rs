//! What a runner's next container is made of: its declaration, and the image that was verified just now.

use super::super::{
    prepare::Start,
    steps::{declared::Declared, pruning::prune_images},
};
use crate::{
    config::{JobStore, Settings},
    contract::{self, env},
    engine::{Cli, Container, Handover, Slot, new_job_name},
    installation::{Installation, Locked, Places},
    progress::Progress,
    runner::say,
    store::Reserve,
    systemd,
    value::RunnerName,
};

/// Another command of ours may be at work on the runner.
const LOCK: std::time::Duration = std::time::Duration::from_secs(120);

pub struct Template {
    pub locked: Locked,
    pub settings: Settings,
    pub engine: Cli,
    /// The runner's own, whose name no container of a slot has.
    container: Container,
    /// What a job's store is laid over, where stores can be laid.
    pub base: Option<String>,
}

impl Template {
    pub async fn of(runner: &Installation) -> anyhow::Result<Self> {
        Self::under(runner.lock_patiently(LOCK)?).await
    }

    pub async fn under(locked: Locked) -> anyhow::Result<Self> {
        let progress = Progress::quiet();
        let declared = Declared::read(&locked)?;
        let settings = declared.settings.clone();
        let engine = declared.engine()?.holding(locked.right()?);
        let start = Start::of(declared, &locked, &progress)?;
        let (image, _) = Box::pin(start.image()).await?;
        let container = start.container(&image)?;
        start.note(&image, &container)?;
        let mut template = Self { settings, engine, container, base: None, locked };
        if template.engine.has_layers() {
            template.lay_base()?;
        }
        prune_images(&template.engine, &progress);
        Ok(template)
    }

    fn lay_base(&mut self) -> anyhow::Result<()> {
        let Self { engine, container, .. } = self;
        let image = container.image.value();
        if engine.keep_base(container)? {
            say(&format!("the store of {} lies ready for its jobs", image.short()));
        }
        let base = match self.settings.nix.store {
            JobStore::Fresh => engine.first_base(container),
            JobStore::Warm => engine.warmest_base(container)?,
        };
        // One that somebody looks into, say, is removed another time.
        if let Err(why) = engine.prune_bases(&self.locked.name, image, &base) {
            say(&format!("a store on which no job's rests any more stays: {why}"));
        }
        self.base = Some(base);
        Ok(())
    }

    /// No job begins that would only fill the disk further: a slot without a container leaves it queued, a full disk fails
    /// it. What is kept warm is given up for it.
    pub fn expect_room(&mut self) -> anyhow::Result<()> {
        let Err(short) = expect_room(&self.engine, &self.settings) else { return Ok(()) };
        let first = self.engine.first_base(&self.container);
        if self.base.as_ref().is_none_or(|base| *base == first) {
            return Err(short);
        }
        if self.engine.cool_bases(&self.container)? {
            say(&given_up(&format!("{short:#}")));
        }
        self.base = Some(first);
        expect_room(&self.engine, &self.settings)
    }

    pub fn has_room(&self) -> bool {
        expect_room(&self.engine, &self.settings).is_ok()
    }

    /// A container for one of its slots, under a name of its own, and where it is spoken to.
    pub fn for_slot(&self, number: u32) -> anyhow::Result<(Container, Installation)> {
        let (engine, container) = (&self.engine, &self.container);
        let runner = &self.locked.name;
        let name = new_job_name(runner);
        let place = Places::standard().installation(&name);
        let slice = engine.has_slices()?.then(|| systemd::slice_name(runner));
        let made = Container {
            env: environment(container, &name),
            handover: Handover(place.handover.clone()),
            slice,
            slot: Some(Slot { runner: runner.clone(), number }),
            unconfined: self.locked.record()?.is_some_and(|record| record.unconfined),
            name,
            ..container.clone()
        };
        Ok((made, place))
    }

    /// Its store, over the base or, where stores cannot be laid, the engine's copy of the image's.
    pub fn make_store(&self, container: &Container) -> anyhow::Result<()> {
        match &self.base {
            Some(base) => self.engine.lay_store(container, base)?,
            None => self.engine.new_volume(&container.store_volume(), container.instance())?,
        }
        Ok(())
    }
}

pub fn given_up(why: &str) -> String {
    format!("what was kept warm for the next jobs is given up: {why}")
}

/// The disk is full.
#[derive(Debug, thiserror::Error)]
#[error("{said}: no job is taken; type `{engine} system df`, and make room")]
pub struct NoRoom {
    said: String,
    engine: &'static str,
}

fn expect_room(engine: &Cli, settings: &Settings) -> anyhow::Result<()> {
    let folder = engine.volume_will_be_at("")?;
    let place = folder.ancestors().find(|place| place.exists()).unwrap_or(&folder);
    let wanted = Reserve::of_job(settings.min_free, settings.disk, place);
    if let Some(shortage) = wanted.shortage(&[place]) {
        let said = shortage.said;
        return Err(NoRoom { said, engine: engine.program() }.into());
    }
    Ok(())
}

/// What the image is told: no token, but that it is to wait for a configuration.
fn environment(container: &Container, name: &RunnerName) -> std::collections::BTreeMap<&'static str, String> {
    let mut variables = container.env.clone();
    variables.remove(env::TOKEN_FILE);
    variables
        .insert(env::JIT_CONFIG_FILE, format!("{}/{}", contract::HANDOVER_MOUNT, contract::HANDOVER_JIT));
    variables.insert(env::RUNNER_NAME, name.to_string());
    variables.insert(env::EPHEMERAL, "true".to_owned());
    variables
}
