//! One runner, as it is at this moment.

use super::waiting::Waiting;
use crate::{
    cache::queue,
    chronicle::{Reader, Totals},
    commands::steps::{
        happened::happened,
        housing::Housing,
        standing,
        subject::{Known, Subject},
    },
    contract::{Phase, State},
    engine::{self, Cli, InForce, Status, Usage},
    installation::{Installation, Record},
    value::RunnerName,
};

/// What is not known is not there.
#[derive(Default)]
pub struct Sample {
    pub name: String,
    pub known: Option<Known>,
    /// What it lives in.
    pub housing: &'static str,
    pub record: Option<Record>,
    pub state: Option<State>,
    pub running: Option<Running>,
    pub restarts: Option<u64>,
    pub totals: Option<Totals>,
    pub uploads: Option<queue::State>,
    pub waiting: Waiting,
    pub is_drained: bool,
}

/// Of a container that runs.
pub struct Running {
    pub usage: Usage,
    pub in_force: Option<InForce>,
}

impl Sample {
    pub fn of(installation: Installation) -> Self {
        let name = installation.name.clone();
        Self::read(installation).unwrap_or_else(|_| Self::named(&name))
    }

    fn named(name: &RunnerName) -> Self {
        Self { name: name.to_string(), ..Self::default() }
    }

    fn read(installation: Installation) -> anyhow::Result<Self> {
        let subject = Subject::of(installation)?;
        let (installation, housing) = (&subject.installation, &subject.housing);
        let container = subject.container()?;
        let jobs = match housing {
            Housing::Container(engine) if subject.is_ephemeral => standing::jobs(engine, &installation.name)?,
            _ => Vec::new(),
        };
        let pid = container.as_ref().filter(|found| found.status == Status::Running && found.pid != 0);
        let running = pid.and_then(|found| {
            let mut usage = Usage::of(found.pid).ok()?;
            // All of its jobs' together.
            for job in jobs.iter().filter(|job| job.container.pid != found.pid) {
                usage.add(&Usage::of(job.container.pid).unwrap_or_default());
            }
            Some(Running { usage, in_force: InForce::of(found.pid).ok() })
        });
        let reader = happened(housing, installation)?;
        // What a job's queue says moves into the totals when that goes.
        let alone = reader.as_ref().filter(|_| subject.is_ephemeral).and_then(Reader::alone);
        let totals = reader.map(|reader| reader.totals());
        let uploads = match housing {
            Housing::Container(engine) if subject.is_ephemeral => installation
                .cache()
                .exists()
                .then(|| uploads_of_jobs(engine, &installation.name, totals.as_ref()))
                .transpose()?,
            _ => housing.queue(installation)?.and_then(|place| queue::State::read(&place)),
        };
        drop(alone);
        Ok(Self {
            // What a container that is gone said last is not how it is.
            state: running.is_some().then(|| installation.runner_state()).flatten(),
            restarts: container.map(|found| found.restarts),
            totals,
            waiting: Waiting::read(&installation.name),
            uploads,
            is_drained: installation.drained()?.is_some(),
            running,
            known: Some(subject.known.clone()),
            housing: housing.name(),
            record: subject.record.clone(),
            ..Self::named(&installation.name)
        })
    }

    pub fn is_online(&self) -> bool {
        self.state.as_ref().is_some_and(|state| matches!(state.phase, Phase::Listening | Phase::Busy))
    }

    pub fn is_busy(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.phase == Phase::Busy)
    }
}

/// Of an ephemeral runner: what the pushers of its jobs say together, and those whose job is gone said at the end.
fn uploads_of_jobs(
    engine: &Cli,
    runner: &RunnerName,
    gone: Option<&Totals>,
) -> Result<queue::State, engine::Error> {
    let mut all = queue::State::default();
    if let Some(Totals { pushed, pushed_bytes, dropped, .. }) = gone {
        (all.pushed, all.bytes, all.dropped) = (*pushed, *pushed_bytes, *dropped);
    }
    for job in engine.jobs_with_volumes(runner)? {
        let queue = engine.volume_place(&engine::queue_volume(&job))?;
        if let Some(said) = queue.and_then(|place| queue::State::read(&place)) {
            all.add(said);
        }
    }
    Ok(all)
}
