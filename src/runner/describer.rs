use std::{
    io,
    os::unix::fs::symlink,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::sys::signal::Signal;

use super::{Environment, Uploads, children, children::Child, say, user};
use crate::{cache::queue::Queue, contract};

/// The process that describes builds for the pusher; it outlives every listener.
pub struct Describer {
    child: Option<Child>,
    began: Option<Instant>,
}

/// One that ends at once is started again no sooner.
const PAUSE: Duration = Duration::from_secs(20);
/// What the last builds take.
const LAST_BUILDS: Duration = Duration::from_secs(60);

impl Describer {
    /// Before Nix builds anything: the queue, and what Nix calls after every build.
    pub fn prepare(environment: &Environment) -> anyhow::Result<()> {
        if environment.uploads == Uploads::Off {
            return Ok(());
        }
        let queue = Queue::here();
        queue.prepare().and_then(|()| queue.tidy_roots()).context(contract::QUEUE_MOUNT)?;
        match symlink(user::this_program(), contract::POST_BUILD_HOOK) {
            Err(why) if why.kind() != io::ErrorKind::AlreadyExists => {
                Err(why).context(contract::POST_BUILD_HOOK)
            }
            _ => Ok(()),
        }
    }

    pub fn new(environment: &Environment) -> Option<Self> {
        (environment.uploads != Uploads::Off).then_some(Self { child: None, began: None })
    }

    /// Start it when it does not run.
    pub fn keep(&mut self) {
        if let Some(child) = &mut self.child {
            let Some(status) = child.ended() else { return };
            say(&format!("what describes builds for their upload ended ({status}): starting it again"));
            self.child = None;
        }
        if self.began.is_some_and(|began| began.elapsed() < PAUSE) {
            return;
        }
        self.began = Some(Instant::now());
        let mut command = user::as_root(user::this_program());
        command.arg("describe-builds").stdin(Stdio::null());
        self.child = children::spawn(&mut command).ok();
    }

    /// Have it describe the last builds, and end.
    pub fn stop(&mut self) {
        if let Some(child) = &mut self.child {
            child.terminate(Signal::SIGTERM, LAST_BUILDS);
        }
    }
}
