use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Environment, children, children::Child, say, user};
use crate::{
    chronicle::Chronicle,
    store::{self, Collected},
};

/// The garbage collection of a runner that stays. It outlives every listener: its time does not begin anew
/// with each.
pub struct Garbage {
    older_than: String,
    interval: Duration,
    due: Instant,
    running: Option<Running>,
}

/// A collection that goes on beside the listener.
struct Running {
    child: Child,
    began: Instant,
    /// What the store held before.
    held: u64,
}

impl Garbage {
    pub fn new(environment: &Environment) -> Option<Self> {
        let collection = environment.collection.as_ref()?;
        Some(Self {
            older_than: collection.delete_older_than.clone(),
            interval: collection.interval,
            due: Instant::now() + collection.initial_delay,
            running: None,
        })
    }

    /// See how a running one is, and start one that is due when no job runs.
    pub fn tend(&mut self, idle: bool, chronicle: &Chronicle) {
        if let Some(Running { child, began, held }) = &mut self.running {
            if let Some(status) = child.ended() {
                say(&format!("garbage collection ended: {status}"));
                let left = store::held().unwrap_or(*held);
                let collected = Collected { freed: held.saturating_sub(left), took: began.elapsed() };
                chronicle.note(collected.event());
                self.running = None;
            }
        } else if idle && Instant::now() >= self.due {
            self.due = Instant::now() + self.interval;
            let mut command = user::as_root("nix-collect-garbage");
            command.args(["--delete-older-than", &self.older_than]);
            match children::spawn(&mut command) {
                Ok(child) => {
                    let held = store::held().unwrap_or_default();
                    self.running = Some(Running { child, began: Instant::now(), held });
                }
                Err(why) => say(&format!("garbage cannot be collected: {why}")),
            }
        }
    }

    /// End a running one: what it has not deleted yet it deletes the next time.
    pub fn stop(&mut self) {
        if let Some(Running { mut child, .. }) = self.running.take() {
            child.terminate(Signal::SIGTERM, Duration::from_secs(2));
        }
    }
}
