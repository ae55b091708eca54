//! What a runner is seen by: its own container and its own entry at GitHub, or, where every job has one, those of a job.

use crate::{
    contract::{Phase, State},
    engine::{self, Cli, Inspected, Status, is_job_of},
    github::{self, GitHub, Runner},
    installation::Places,
    value::RunnerName,
};

/// A job's container that runs, and what its PID 1 last said.
pub struct Job {
    pub name: RunnerName,
    pub slot: u32,
    pub container: Inspected,
    pub state: Option<State>,
}

impl Job {
    fn phase(&self) -> Phase {
        self.state.as_ref().map_or(Phase::Starting, |state| state.phase)
    }
}

/// The jobs' containers that run, slot by slot; those that have come furthest first.
pub fn jobs(engine: &Cli, runner: &RunnerName) -> Result<Vec<Job>, engine::Error> {
    let mut jobs = Vec::new();
    for (name, container) in engine.jobs(runner)? {
        let slot = container.slot.unwrap_or_default();
        if container.status == Status::Running && container.pid != 0 {
            let state = Places::standard().installation(&name).runner_state();
            jobs.push(Job { name, slot, container, state });
        }
    }
    let rank = |job: &Job| match job.phase() {
        Phase::Busy => 0,
        Phase::Listening => 1,
        Phase::Warm => 2,
        _ => 3,
    };
    jobs.sort_by_key(|job| (rank(job), job.slot));
    Ok(jobs)
}

/// As GitHub lists it: of an ephemeral runner one that is connected, and busy before idle.
pub async fn listed(
    github: &GitHub,
    runner: &RunnerName,
    is_ephemeral: bool,
) -> Result<Option<Runner>, github::Error> {
    if !is_ephemeral {
        return github.runner(runner).await;
    }
    let mut jobs = github.runners(|listed| is_job_of(runner, &listed.name) && listed.is_online()).await?;
    jobs.sort_by_key(|listed| !listed.busy);
    Ok(jobs.into_iter().next())
}
