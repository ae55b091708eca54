//! The runner that a verb is about, and the engine that has it.

use anyhow::Context as _;

use super::{declared::Declared, ending::has_unit, housing::Housing, standing};
use crate::{
    config::GitHubSettings,
    engine::{self, Cli, Inspected, Layout, Status},
    installation::{Accepted, Error, Identity, Installation, Places, Record},
    systemd,
    value::Caps,
};

/// What is known of a runner, whatever it lives in.
#[derive(Debug, Clone)]
pub struct Known {
    pub identity: Identity,
    /// Where its GitHub is, and who asks it.
    pub github: GitHubSettings,
    pub caps: Caps,
    /// Whether a registration for just that is saved.
    pub is_registered: bool,
    pub accepted: Option<Accepted>,
}

impl Known {
    /// As its file declares it, and its root has it.
    pub fn declared(
        installation: &Installation,
        declared: &Declared,
        record: Option<&Record>,
    ) -> anyhow::Result<Self> {
        let noted = installation.accepted()?;
        Ok(Self {
            identity: declared.identity(),
            github: declared.settings.github.clone(),
            caps: declared.settings.caps,
            is_registered: declared.is_registered()?,
            accepted: record.and_then(|record| record.accepted.clone()).or(noted),
        })
    }

    /// As it was noted.
    pub fn recorded(record: &Record) -> Self {
        Self {
            identity: record.identity.clone(),
            github: record.github(),
            caps: record.caps,
            is_registered: record.registered.as_ref().is_some_and(|known| known.is_same(&record.identity)),
            accepted: record.accepted.clone(),
        }
    }
}

pub struct Subject {
    pub installation: Installation,
    pub housing: Housing,
    /// What was verified; nothing, when a unit has not prepared it yet, or on a host.
    pub record: Option<Record>,
    pub known: Known,
    /// Whether every job has a container of its own.
    pub is_ephemeral: bool,
}

impl Subject {
    pub fn find(wanted: Option<&str>) -> anyhow::Result<Self> {
        Self::of(Places::standard().find(wanted)?)
    }

    pub fn of(installation: Installation) -> anyhow::Result<Self> {
        let record = installation.record()?;
        if installation.is_declared() {
            let declared = Declared::read(&installation)?;
            let known = Known::declared(&installation, &declared, record.as_ref())?;
            let (housing, is_ephemeral) = (declared.housing, declared.settings.ephemeral.is_some());
            return Ok(Self { installation, housing, record, known, is_ephemeral });
        }
        let record = record.context("the record is gone")?;
        let known = Known::recorded(&record);
        let housing = Housing::Container(engine::detect(Some(&record.engine))?);
        Ok(Self { installation, housing, record: Some(record), known, is_ephemeral: false })
    }

    /// The engine, for what is about containers.
    pub fn engine(&self) -> Result<&Cli, Error> {
        self.housing.expect_engine(&self.installation.name)
    }

    /// Its container, or its service; of an ephemeral runner that of the job that has come furthest.
    pub fn container(&self) -> Result<Option<Inspected>, engine::Error> {
        let name = &self.installation.name;
        if let Housing::Container(engine) = &self.housing
            && self.is_ephemeral
        {
            return Ok(standing::jobs(engine, name)?.into_iter().next().map(|job| job.container));
        }
        self.housing.inspect(name)
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

    /// What makes it whole again with the settings that it has.
    pub fn to_make_whole(&self) -> String {
        let name = &self.installation.name;
        if self.is_ephemeral && !has_unit(name) {
            // Whoever keeps services here keeps its slots.
            return format!("vega-builder slots {name}");
        }
        self.installation.to_make_whole()
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
        let found = self.engine()?.inspect(&engine::pusher_name(name))?;
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
        Ok(self.engine()?.start_pusher(name)?)
    }
}
