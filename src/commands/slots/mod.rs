//! `slots`: an ephemeral runner, whose every job has a container of its own.

mod board;
mod credential;
mod job;
mod keeper;
mod leftovers;
mod orders;
mod registering;
mod slot;
mod template;
mod warmth;
mod watch;

use std::process::ExitCode;

use nix::sys::signal::Signal;

use self::keeper::Keeper;
use super::{install::UnitError, steps::declared::Declared};
use crate::{
    cache::queue::{MOST, Queue},
    engine::{self, Cli, Status},
    installation::Places,
    value::RunnerName,
};

/// Keep the slots of an ephemeral runner: a fresh container for every job
///
/// What the unit of `install --ephemeral N` (and NixOS's) runs; without systemd, whatever keeps services runs it. In each
/// slot a container listens with a just-in-time configuration of its own, takes one job and is gone with all that the job
/// left: its files, its Nix store, its processes, its registration. While the job runs, the next container boots, so that
/// the next job waits for little. Every container is made from the image that was verified just before.
///
/// SIGTERM: no new job starts, those that run end within the patience of the settings, then it ends. A second one, or
/// SIGINT: they are cancelled. SIGHUP: the declaration is read again, and containers that have no job yet are made anew.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sudo vega-builder install octo-org/heavy-builds --ephemeral 2 --token-file /etc/vega-builder/github-token
      writes the unit that runs this
  sudo vega-builder slots vega-heavy-builds
      in the foreground, for a runner that /etc/vega-builder/runners/vega-heavy-builds.toml declares")]
pub struct SlotsCommand {
    /// The runner's name, its repository or its organisation, when several are declared here
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    runner: Option<String>,
    /// Have whoever keeps them read the declaration again, and end
    #[arg(long)]
    reload: bool,
}

impl SlotsCommand {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let installation = Places::standard().find(self.runner.as_deref())?;
        if !installation.is_declared() {
            return Err(UnitError::Stays(installation.name).into());
        }
        let declared = Declared::read(&installation)?;
        declared.engine()?;
        if declared.settings.ephemeral.is_none() {
            return Err(UnitError::NoSlots(installation.declaration).into());
        }
        if self.reload {
            installation.signal_keeper(Signal::SIGHUP)?;
            return Ok(ExitCode::SUCCESS);
        }
        let github = &declared.settings.github;
        if github.token_file.is_none() && github.app.is_none() {
            return Err(UnitError::NoCredential.into());
        }
        let only = installation.hold_slots()?;
        Keeper::new(installation).run().await?;
        drop(only);
        Ok(ExitCode::SUCCESS)
    }
}

/// How many builds of a runner's jobs still wait for their upload.
pub fn waiting_uploads(engine: &Cli, runner: &RunnerName) -> anyhow::Result<usize> {
    let mut waiting = 0;
    for job in engine.jobs_with_volumes(runner)? {
        if let Some(place) = engine.volume_place(&engine::queue_volume(&job))? {
            waiting += Queue::at(&place, MOST).waiting().unwrap_or_default();
        }
    }
    Ok(waiting)
}

/// How many of them are pushed by and by, with or without somebody who keeps the slots: their pushers run after this.
pub fn uploads_under_way(engine: &Cli, runner: &RunnerName) -> anyhow::Result<usize> {
    let mut under_way = 0;
    for job in engine.jobs_with_volumes(runner)? {
        let place = engine.volume_place(&engine::queue_volume(&job))?;
        // What its container had not described yet nobody can describe any more.
        let ready =
            place.map_or(0, |place| Queue::at(&place, MOST).described().map_or(0, |(ready, _)| ready));
        if ready > 0
            && let Some(pusher) = engine.inspect(&engine::pusher_name(&job))?
        {
            under_way += ready;
            if pusher.status != Status::Running {
                engine.start_pusher(&job)?;
            }
        }
    }
    Ok(under_way)
}

/// Remove every job of a runner whose slots nobody keeps any more, and the stores below them; what that was.
pub fn remove_jobs(engine: &Cli, runner: &RunnerName) -> Result<Vec<String>, engine::Error> {
    let mut jobs: Vec<RunnerName> = engine.jobs(runner)?.into_iter().map(|(name, _)| name).collect();
    jobs.extend(engine.jobs_with_volumes(runner)?);
    jobs.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    jobs.dedup();
    let mut removed = Vec::new();
    for job in jobs {
        engine.remove(job.as_str())?;
        engine.remove(&engine::pusher_name(&job))?;
        engine.remove_job_volumes(&job)?;
        let _ = Places::standard().installation(&job).remove_handover();
        removed.push(format!("job {job}"));
    }
    for volume in engine.bases(runner)? {
        engine.remove_volume(&volume)?;
        removed.push(format!("volume {volume}"));
    }
    Ok(removed)
}
