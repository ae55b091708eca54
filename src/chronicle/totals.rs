use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Event, JobResult};

/// The sums of all events of a runner, those that the log has no room for any more among them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    pub since: Timestamp,
    pub starts: u64,
    pub jobs: BTreeMap<JobResult, u64>,
    pub busy_seconds: f64,
    pub oom_kills: u64,
    pub collections: u64,
    pub collected_bytes: u64,
    pub collecting_seconds: f64,
    pub troubles: u64,
    /// What the Nix store held at the last look.
    pub store_bytes: Option<u64>,
    /// Store paths that were pushed, their compressed bytes, and builds that found no room, of queues that are gone.
    pub pushed: u64,
    pub pushed_bytes: u64,
    pub dropped: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            since: Timestamp::now(),
            starts: 0,
            jobs: BTreeMap::new(),
            busy_seconds: 0.0,
            oom_kills: 0,
            collections: 0,
            collected_bytes: 0,
            collecting_seconds: 0.0,
            troubles: 0,
            store_bytes: None,
            pushed: 0,
            pushed_bytes: 0,
            dropped: 0,
        }
    }
}

impl Totals {
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Started { .. } => self.starts += 1,
            Event::Trouble { .. } => self.troubles += 1,
            Event::JobEnded { result, seconds, oom_kills, .. } => {
                *self.jobs.entry(*result).or_default() += 1;
                self.busy_seconds += seconds;
                self.oom_kills += oom_kills;
            }
            Event::GarbageCollected { freed_bytes, seconds } => {
                self.collections += 1;
                self.collected_bytes += freed_bytes;
                self.collecting_seconds += seconds;
            }
            Event::Listening
            | Event::JobStarted { .. }
            | Event::Drained
            | Event::GaveUp { .. }
            | Event::Stopped { .. } => {}
        }
    }
}
