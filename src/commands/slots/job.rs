//! One job's container, from its making to its burial.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use super::{
    super::steps::{caching::Caching, metadata, pushing::pusher},
    template::Template,
    watch::Watch,
};
use crate::{
    chronicle::{Event, Reader},
    contract::{self, Phase, State},
    engine::{Cli, Container, InForce, Inspected, Status, queue_volume, runner_volume},
    installation::{Installation, Places},
    value::RunnerName,
};

/// A container that has a job, or is to have one.
pub struct Job {
    pub name: RunnerName,
    pub engine: Cli,
    /// Where its handover folder is.
    pub place: Installation,
    /// Wakes whoever waits for what it says.
    watch: Watch,
    /// Its first process, whose number may be another's one day.
    process: File,
    /// Whether GitHub has it as a runner.
    pub is_registered: bool,
    /// How often the declaration had been read when it was made.
    pub reading: u32,
}

/// What a container takes at most to end once its first process has.
const ENDING: Duration = Duration::from_secs(60);

impl Job {
    /// Make one, of the image that was verified just now, and start it: it boots, and then waits.
    pub async fn begin(runner: &Installation, slot: u32, reading: u32) -> anyhow::Result<Self> {
        let mut template = Template::of(runner).await?;
        template.expect_room()?;
        let (container, place) = template.for_slot(slot)?;
        let name = container.name.clone();
        match started(&template, &container, &place) {
            Ok(process) => {
                let watch = Watch::on(&place.handover);
                let engine = template.engine.letting_go();
                Ok(Self { name, engine, place, watch, process, is_registered: false, reading })
            }
            Err(why) => {
                // Nothing half made stays.
                let _ = remove(&template.engine, &name, &place);
                Err(why)
            }
        }
    }

    /// One that an earlier keeper made, when it can still be used: it listens, or has a job.
    pub fn adopt(engine: &Cli, name: &RunnerName, found: &Inspected, reading: u32) -> Option<Self> {
        let place = Places::standard().installation(name);
        let phase = place.runner_state()?.phase;
        if found.status != Status::Running || !matches!(phase, Phase::Listening | Phase::Busy) {
            return None;
        }
        let (process, watch) = (process(found.pid).ok()?, Watch::on(&place.handover));
        let (name, engine) = (name.clone(), engine.clone());
        Some(Self { name, engine, place, watch, process, is_registered: true, reading })
    }

    /// What its PID 1 last said.
    pub fn state(&self) -> Option<State> {
        self.place.runner_state()
    }

    /// Until it says something new, or for so long.
    pub fn changed(&self, wait: Duration) {
        self.watch.changed(wait);
    }

    /// Whether its first process is there still.
    pub fn is_alive(&mut self) -> bool {
        let mut text = String::new();
        let read = self.process.rewind().and_then(|()| self.process.read_to_string(&mut text));
        read.is_ok() && !text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    }

    /// Whether its PID 1 wrote down that a job has ended in it.
    pub fn has_had_job(&self) -> bool {
        let Ok(Some(place)) = self.engine.volume_place(&runner_volume(&self.name)) else { return false };
        let entries = Reader::at(place.join(contract::KEPT)).entries();
        entries.iter().any(|entry| matches!(entry.event, Event::JobEnded { .. }))
    }

    /// Have it end after its job, or at once when it has none.
    pub fn let_end(&self) {
        let _ = self.engine.signal(&self.name, "HUP");
    }

    /// Cancel what it has.
    pub fn end_now(&self) -> anyhow::Result<()> {
        Ok(self.engine.stop(&self.name)?)
    }

    /// Wait until the engine, too, has it as ended.
    pub async fn settled(&self) -> anyhow::Result<()> {
        let until = Instant::now() + ENDING;
        loop {
            let found = self.engine.inspect(self.name.as_str())?;
            if found.is_none_or(|found| found.status != Status::Running) {
                return Ok(());
            }
            if Instant::now() > until {
                return self.end_now();
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Remove everything of a job's from this host but its uploads, which must be over.
pub fn remove(engine: &Cli, name: &RunnerName, place: &Installation) -> anyhow::Result<()> {
    engine.remove(name.as_str())?;
    engine.remove(&crate::engine::pusher_name(name))?;
    engine.remove_job_volumes(name)?;
    Ok(place.remove_handover()?)
}

/// Its volumes, its container, and the proof that the kernel holds it to its caps.
fn started(template: &Template, container: &Container, place: &Installation) -> anyhow::Result<File> {
    let Template { engine, locked, settings, .. } = template;
    let (name, instance) = (&container.name, container.instance());
    place.make_handover(container.userns.map(|userns| userns.base))?;
    ensure!(
        place.handover_is_in_memory(),
        "{} is not on a tmpfs, and a credential is not written to a disk; mount one on /run",
        place.handover.display()
    );
    engine.new_volume(&runner_volume(name), instance)?;
    template.make_store(container)?;
    if settings.cache.is_some() {
        engine.new_volume(&queue_volume(name), instance)?;
    }
    engine.create(container, name.as_str())?;
    engine.start(name)?;
    let running = engine.inspect(name.as_str())?.context("its container is gone")?;
    let pinned = format!("{}@{}", container.image_name, container.image.value());
    engine.expect_container(&running.image_id, &container.local_id, pinned)?;
    ensure!(running.pid != 0, "its container ended at once: {}", engine.last_log(name, 1));
    InForce::of(running.pid)?.prove(&container.caps)?;
    if engine.program() == "docker" {
        metadata::hold_swap(running.pid);
    }
    if let Some(cache) = &settings.cache
        && let Some(file) = Caching::keep(locked, settings, Some(container), jiff::Timestamp::now())?
    {
        engine.keep_pusher(&pusher(container, cache, file))?;
    }
    Ok(process(running.pid)?)
}

/// Reading it fails when the process is gone, whoever has its number then.
fn process(pid: u32) -> io::Result<File> {
    File::open(format!("/proc/{pid}/stat"))
}
