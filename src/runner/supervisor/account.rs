//! What of a listener's life is written down for whoever asks later.

use std::path::Path;

use super::{super::life::Life, Supervisor};
use crate::{cache::queue::Job, chronicle::Event, contract, engine::Usage};

impl Supervisor<'_> {
    /// The job that ran in this life, when one did.
    pub(super) fn chronicle_job(&self, life: &Life, oom_kills_before: u64) {
        let Some((job, result, took)) = life.job() else { return };
        self.chronicle.note(Event::JobEnded {
            job: job.to_owned(),
            result,
            seconds: took.as_secs_f64(),
            oom_kills: oom_kills().saturating_sub(oom_kills_before),
            run: Job::read(Path::new(contract::JOB)).and_then(|job| job.run_url()),
        });
    }
}

/// As far as the kernel tells in here.
pub(super) fn oom_kills() -> u64 {
    Usage::of(std::process::id()).map(|usage| usage.oom_kills).unwrap_or_default()
}
