//! The runner that a verb is about, and the engine that has it.

use anyhow::Context as _;

use super::{declared::Declared, standing};
use crate::{
    engine::{self, Cli, Inspected, Layout, Status},
    installation::{Error, Installation, Places, Record},
    systemd,
};

pub struct Subject {
    pub installation: Installation,
    pub engine: Cli,
    /// Nothing, when a unit has not prepared it yet.
    pub record: Option<Record>,
    /// Whether every job has a container of its own.
    pub is_ephemeral: bool,
}

impl Subject {
    pub fn find(wanted: Option<&str>) -> anyhow::Result<Self> {
        Self::of(Places::standard().find(wanted)?)
    }

    pub fn of(installation: Installation) -> anyhow::Result<Self> {
        let record = installation.record()?;
        let (engine, is_ephemeral) = if installation.is_declared() {
            let declared = Declared::read(&installation)?;
            (declared.engine, declared.settings.ephemeral.is_some())
        } else {
            (engine::detect(Some(&record.as_ref().context("the record is gone")?.engine))?, false)
        };
        Ok(Self { installation, engine, record, is_ephemeral })
    }

    /// Its container; of an ephemeral runner that of the job that has come furthest.
    pub fn container(&self) -> Result<Option<Inspected>, engine::Error> {
        let name = &self.installation.name;
        if self.is_ephemeral {
            return Ok(standing::jobs(&self.engine, name)?.into_iter().next().map(|job| job.container));
        }
        self.engine.inspect(name.as_str())
    }

    /// Whether somebody keeps an ephemeral runner's slots.
    pub fn is_kept(&self) -> bool {
        self.is_ephemeral && matches!(self.installation.hold_slots(), Err(Error::SlotsKept { .. }))
    }

    /// Its container, while it runs and is ours.
    pub fn running(&self) -> anyhow::Result<Option<Inspected>> {
        let found = self.container()?;
        Ok(found.filter(|found| found.status == Status::Running && !found.fingerprint.is_empty()))
    }

    /// Whether PID 1 in its container is ours.
    pub fn is_ours_inside(&self) -> bool {
        self.record.as_ref().is_none_or(|record| record.layout == Layout::Contract)
    }

    /// Whether its builds are pushed by something that stays; an ephemeral runner's jobs have their own.
    pub fn pushes(&self) -> bool {
        !self.is_ephemeral && self.installation.cache().exists()
    }

    /// Whether what pushes its builds runs, or is about to.
    pub fn pusher_runs(&self) -> anyhow::Result<bool> {
        let name = &self.installation.name;
        if self.installation.is_declared() {
            let state = systemd::property(&systemd::pusher_service_name(name), "ActiveState");
            return Ok(matches!(state.as_str(), "active" | "activating"));
        }
        let found = self.engine.inspect(&engine::pusher_name(name))?;
        Ok(found.is_some_and(|found| found.status == Status::Running))
    }

    pub fn start_pusher(&self) -> anyhow::Result<()> {
        let name = &self.installation.name;
        if self.installation.is_declared() {
            let service = systemd::pusher_service_name(name);
            // One that gave up starts counting anew.
            let _ = systemd::systemctl(&["reset-failed", "--quiet", &service]);
            return Ok(systemd::systemctl(&["start", &service])?);
        }
        Ok(self.engine.start_pusher(name)?)
    }
}
