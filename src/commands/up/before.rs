//! What is here already, and what becomes of it: kept, replaced, or in the way.

use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    super::steps::{housing::Housing, idle::Rest, lease::Lease},
    Up,
};
use crate::{
    config::{EngineChoice, Settings},
    contract::Phase,
    engine::{self, Cli, Container, Inspected, Layout, Status},
    github::GitHub,
    installation::{Error, Installation, Record},
    value::RunnerName,
};

/// What the engine has under this runner's names.
pub struct Present {
    container: Option<Inspected>,
    store_volume: bool,
    runner_volume: bool,
}

/// The questions to the engine, under way from the first moment: each costs as much as a signature's check.
pub struct Asked {
    container: JoinHandle<Result<Option<Inspected>, engine::Error>>,
    volumes: JoinHandle<Result<Vec<String>, engine::Error>>,
}

impl Asked {
    pub fn about(name: &RunnerName, engine: &Cli) -> Self {
        let (asked, prefix) = (engine.clone(), format!("{name}-"));
        let volumes = spawn_blocking(move || asked.volumes(&prefix));
        let (asked, name) = (engine.clone(), name.clone());
        Self { container: spawn_blocking(move || asked.inspect(name.as_str())), volumes }
    }

    pub async fn answer(self, name: &RunnerName) -> anyhow::Result<Present> {
        let volumes = self.volumes.await??;
        Ok(Present {
            store_volume: volumes.contains(&engine::store_volume(name)),
            runner_volume: volumes.contains(&engine::runner_volume(name)),
            container: self.container.await??,
        })
    }
}

/// What is to be done about the container.
pub enum Plan {
    /// It is what the settings ask for.
    Keep(Inspected),
    /// There is none.
    Create,
    /// The settings, or the image, have changed.
    Replace { remake_store: bool },
}

/// Bring the settings in line with an earlier installation of the same name: what nobody gave stays as it was,
/// and what would silently make a second runner is an error.
pub fn settle(settings: &mut Settings, before: &Record, here: &Installation) -> Result<(), Error> {
    let identity = &before.identity;
    if identity.scope != settings.scope || identity.server != settings.github.server {
        let other = format!("{}{}", identity.server, identity.scope);
        return Err(Error::Taken { name: settings.name.to_string(), other, away: here.to_take_away() });
    }
    let wanted = match settings.engine {
        EngineChoice::Auto => before.engine.as_str(),
        EngineChoice::Podman => "podman",
        EngineChoice::Docker => "docker",
    };
    if wanted != before.engine {
        return Err(Error::OtherEngine {
            name: settings.name.to_string(),
            engine: before.engine.clone(),
            wanted: wanted.to_owned(),
            away: here.to_take_away(),
        });
    }
    settings.engine = if wanted == "docker" { EngineChoice::Docker } else { EngineChoice::Podman };
    // Spelled otherwise they are the same at GitHub; the container would be another one for nothing.
    settings.scope.clone_from(&identity.scope);
    settings.group = settings.group.take().or_else(|| identity.group.clone());
    if settings.labels.same_set(&identity.labels) {
        settings.labels.clone_from(&identity.labels);
    }
    settings.keep_caps(&before.caps);
    Ok(())
}

impl Up<'_> {
    /// No record of ours names them: then they are somebody else's, and neither to be used nor removed.
    pub(super) fn expect_ours(&self, present: &Present, layout: Layout) -> anyhow::Result<()> {
        let (name, engine) = (&self.settings.name, self.engine.program());
        let not_ours = |kind, thing: String| Err(Error::NotOurs { kind, thing, engine }.into());
        if present.container.as_ref().is_some_and(|found| found.fingerprint.is_empty()) {
            return not_ours("container", name.to_string());
        }
        let has_files = self.before.is_some() || self.installation.store()?.is_some();
        if has_files || layout == Layout::Foreign {
            return Ok(());
        }
        match (present.store_volume, present.runner_volume) {
            (true, _) => not_ours("volume", engine::store_volume(name)),
            (false, true) => not_ours("volume", engine::runner_volume(name)),
            (false, false) => Ok(()),
        }
    }

    pub(super) fn plan(&self, container: &Container, present: Present) -> anyhow::Result<Plan> {
        let contract = container.layout == Layout::Contract;
        let Some(found) = present.container else {
            let half_filled = contract && present.store_volume && !self.store_is_whole()?;
            return Ok(if half_filled { Plan::Replace { remake_store: true } } else { Plan::Create });
        };
        let remake_store = contract && self.store_is_broken(&found, present.store_volume)?;
        if !remake_store && found.fingerprint == self.engine.fingerprint(container) {
            return Ok(Plan::Keep(self.ended_if_it_came_to_nothing(found)?));
        }
        self.is_idle(&found)?;
        Ok(Plan::Replace { remake_store })
    }

    /// One that could not boot waits for its next try, or for somebody: this is somebody.
    fn ended_if_it_came_to_nothing(&self, found: Inspected) -> anyhow::Result<Inspected> {
        let state = self.installation.runner_state();
        let is_of_no_use = state.is_some_and(|state| matches!(state.phase, Phase::Stopping | Phase::GaveUp));
        if found.status != Status::Running || !is_of_no_use {
            return Ok(found);
        }
        self.engine.stop(&self.settings.name)?;
        Ok(Inspected { status: Status::Stopped, ..found })
    }

    /// Whether a boot has proven that every store path of an image is in the volume.
    fn store_is_whole(&self) -> anyhow::Result<bool> {
        Ok(self.installation.store()?.is_some_and(|store| store.seeded.is_some()))
    }

    /// A copy into the volume that was cut short (a crash at the first start), or damage that a boot found.
    fn store_is_broken(&self, found: &Inspected, has_volume: bool) -> anyhow::Result<bool> {
        let damaged = self.installation.runner_state().is_some_and(|state| state.damaged);
        // While it runs the copy has ended, and PID 1 looks at the result itself.
        let half_filled = has_volume && found.status != Status::Running && !self.store_is_whole()?;
        Ok(damaged || half_filled)
    }

    /// That none runs was seen some time ago: from here to the end of the old container none begins, for as long as this is
    /// held.
    pub(super) async fn come_to_rest(&self, github: &GitHub, plan: &Plan) -> anyhow::Result<Option<Lease>> {
        let Some(before) = self.before.as_ref().filter(|_| matches!(plan, Plan::Replace { .. })) else {
            return Ok(None);
        };
        if self.consents.now {
            return Ok(None);
        }
        let housing = Housing::Container(self.engine.clone());
        let rest = Rest { housing: &housing, record: Some(before), is_ephemeral: false };
        rest.expect_idle_at(Some(github)).await?;
        let step = self.progress.step("rest", "having no other job start");
        let lease = rest.take(self.installation).await?;
        step.done("no job runs");
        Ok(Some(lease))
    }

    /// A job that runs is not cancelled by a change of settings, unless the person says so.
    fn is_idle(&self, found: &Inspected) -> anyhow::Result<()> {
        if self.consents.now || found.status != Status::Running {
            return Ok(());
        }
        let busy = self.installation.runner_state().filter(|state| state.phase == Phase::Busy);
        let job = match busy {
            Some(state) => state.message,
            None if self.busy_at_github => "GitHub says busy".to_owned(),
            None => return Ok(()),
        };
        Err(Error::AtWork { name: self.settings.name.to_string(), job }.into())
    }
}
