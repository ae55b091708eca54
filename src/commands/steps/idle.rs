//! No job is cancelled unless the person says so: nothing is taken away, or made anew, before the runner has come to rest.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{housing::Housing, lease::Lease, standing};
use crate::{
    contract::{Phase, State},
    engine::{Layout, Status},
    github::GitHub,
    installation::{Error, Installation, Record},
};

/// A listener says goodbye in ten seconds at most; who has not come to rest by then works at nothing.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(200);

/// How a runner comes to rest.
pub struct Rest<'a> {
    pub housing: &'a Housing,
    pub record: Option<&'a Record>,
    pub is_ephemeral: bool,
}

impl Rest<'_> {
    /// Have no job start for as long as what this gives is held, and see that none runs: or the runner goes on as it was.
    pub async fn take(&self, installation: &Installation) -> anyhow::Result<Lease> {
        let (lease, until) = (Lease::take(installation)?, Instant::now() + PATIENCE);
        loop {
            let said = self.said(installation)?;
            if let Some((_, job)) = said.iter().find(|(phase, _)| *phase == Phase::Busy) {
                return Err(Error::AtWork { name: installation.name.to_string(), job: job.clone() }.into());
            }
            if said.iter().all(|(phase, _)| takes_no_job(*phase)) || Instant::now() > until {
                return Ok(lease);
            }
            sleep(LOOK).await;
        }
    }

    /// What everybody says who may have a job, or be given one.
    fn said(&self, installation: &Installation) -> anyhow::Result<Vec<(Phase, String)>> {
        let name = &installation.name;
        let is_kept = self.is_ephemeral && matches!(installation.hold_slots(), Err(Error::SlotsKept { .. }));
        let runs = self.housing.inspect(name)?.is_some_and(|found| found.status == Status::Running);
        let mut said = Vec::new();
        // One of another layout says nothing.
        if is_kept || runs && !self.is_foreign() {
            said.push(phase_of(installation.runner_state()));
        }
        for job in self.housing.engine().map_or(Ok(vec![]), |engine| standing::jobs(engine, name))? {
            let says = phase_of(job.state);
            if !is_kept && let Some(engine) = self.housing.engine() {
                // Nobody else tells it to have no other.
                let _ = engine.signal(&job.name, "HUP");
            }
            if !is_kept || says.0 == Phase::Busy {
                said.push(says);
            }
        }
        Ok(said)
    }

    fn is_foreign(&self) -> bool {
        self.record.is_some_and(|record| record.layout == Layout::Foreign)
    }

    /// Of an image that says nothing of itself GitHub knows whether it has a job.
    pub async fn expect_idle_at(&self, github: Option<&GitHub>) -> anyhow::Result<()> {
        let (Some(github), Some(record)) = (github, self.record.filter(|_| self.is_foreign())) else {
            return Ok(());
        };
        let (name, job) = (&record.identity.name, "GitHub says busy".to_owned());
        if github.runner(name).await?.is_some_and(|runner| runner.busy) {
            return Err(Error::AtWork { name: name.to_string(), job }.into());
        }
        Ok(())
    }
}

fn phase_of(state: Option<State>) -> (Phase, String) {
    state.map_or((Phase::Starting, String::new()), |state| (state.phase, state.message))
}

/// Whatever happens, no job begins while it says that.
fn takes_no_job(phase: Phase) -> bool {
    matches!(phase, Phase::Drained | Phase::GaveUp | Phase::WaitingForToken | Phase::Stopping)
}
