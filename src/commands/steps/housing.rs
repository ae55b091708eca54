//! What a runner lives in: a container of an engine's, or, on the host itself, a service.

use std::path::PathBuf;

use super::ending;
use crate::{
    config::{EngineChoice, Settings},
    engine::{self, Cli, Inspected, Status, queue_volume, runner_volume, store_volume},
    host,
    installation::{Error, Installation},
    systemd,
    value::RunnerName,
};

#[derive(Clone)]
pub enum Housing {
    Container(Cli),
    Host,
}

impl Housing {
    pub fn of(settings: &Settings) -> Result<Self, engine::Error> {
        if settings.host.is_some() {
            return Ok(Self::Host);
        }
        let engine = engine::detect(match settings.engine {
            EngineChoice::Auto => None,
            EngineChoice::Podman => Some("podman"),
            EngineChoice::Docker => Some("docker"),
        })?;
        Ok(Self::Container(engine))
    }

    pub fn is_host(&self) -> bool {
        matches!(self, Self::Host)
    }

    /// Whose the container is, where there is one.
    pub fn engine(&self) -> Option<&Cli> {
        match self {
            Self::Container(engine) => Some(engine),
            Self::Host => None,
        }
    }

    /// The same for a command that is about containers.
    pub fn expect_engine(&self, name: &RunnerName) -> Result<&Cli, Error> {
        self.engine().ok_or_else(|| Error::OnHost { name: name.to_string() })
    }

    /// Who has it, for a person.
    pub fn name(&self) -> &'static str {
        self.engine().map_or("systemd", Cli::program)
    }

    /// The container, or the service, when there is one.
    pub fn inspect(&self, name: &RunnerName) -> Result<Option<Inspected>, engine::Error> {
        match self {
            Self::Container(engine) => engine.inspect(name.as_str()),
            Self::Host => Ok(service(name)),
        }
    }

    /// End it; its job is not waited for.
    pub fn stop(&self, name: &RunnerName) -> anyhow::Result<()> {
        match self {
            Self::Container(engine) => Ok(engine.stop(name)?),
            Self::Host => ending::interrupt(&systemd::service_name(name)),
        }
    }

    /// The runner's root, the queue of its builds, and its Nix store, once they are there.
    pub fn root(&self, of: &Installation) -> Result<Option<PathBuf>, engine::Error> {
        self.place(runner_volume, host::Folders(of.state.clone()).jobs().join("runner"), of)
    }

    pub fn queue(&self, of: &Installation) -> Result<Option<PathBuf>, engine::Error> {
        self.place(queue_volume, host::Folders(of.state.clone()).queue(), of)
    }

    pub fn store(&self, of: &Installation) -> Result<Option<PathBuf>, engine::Error> {
        self.place(store_volume, "/nix".into(), of)
    }

    fn place(
        &self,
        volume: impl Fn(&RunnerName) -> String,
        folder: PathBuf,
        of: &Installation,
    ) -> Result<Option<PathBuf>, engine::Error> {
        match self {
            Self::Container(engine) => engine.volume_place(&volume(&of.name)),
            Self::Host => Ok(folder.is_dir().then_some(folder)),
        }
    }
}

/// A unit of systemd's, as an engine would tell of a container.
fn service(name: &RunnerName) -> Option<Inspected> {
    let unit = systemd::service_name(name);
    let property = |what: &str| systemd::property(&unit, what);
    if property("LoadState") != "loaded" {
        return None;
    }
    let pid = property("MainPID").parse().unwrap_or_default();
    Some(Inspected {
        id: property("InvocationID"),
        status: if pid == 0 { Status::Stopped } else { Status::Running },
        pid,
        image_id: String::new(),
        fingerprint: unit.clone(),
        started_at: property("ExecMainStartTimestamp"),
        restarts: property("NRestarts").parse().unwrap_or_default(),
        slot: None,
        caps: None,
    })
}
