use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Environment, children, children::Child, say, user};

/// The garbage collection of a runner that stays. It outlives every listener: its time does not begin anew
/// with each.
pub struct Garbage {
    older_than: String,
    interval: Duration,
    due: Instant,
    running: Option<Child>,
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
    pub fn tend(&mut self, idle: bool) {
        if let Some(child) = &mut self.running {
            if let Some(status) = child.ended() {
                say(&format!("garbage collection ended: {status}"));
                self.running = None;
            }
        } else if idle && Instant::now() >= self.due {
            self.due = Instant::now() + self.interval;
            let mut command = user::as_root("nix-collect-garbage");
            command.args(["--delete-older-than", &self.older_than]);
            match children::spawn(&mut command) {
                Ok(child) => self.running = Some(child),
                Err(why) => say(&format!("garbage cannot be collected: {why}")),
            }
        }
    }

    /// End a running one: what it has not deleted yet it deletes the next time.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.terminate(Signal::SIGTERM, Duration::from_secs(2));
        }
    }
}
