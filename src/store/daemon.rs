use std::{
    os::unix::net::UnixStream,
    process::{ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::Error;
use crate::runner::{
    children::{self, Child},
    say,
    stop::{self, Order},
    user,
};

const SOCKET: &str = "/nix/var/nix/daemon-socket/socket";
const PATIENCE: u64 = 20;
/// For how long another try is worth it: a job that takes every process id ends some day, or is ended.
const DOWN: Duration = Duration::from_secs(60);

/// nix-daemon: builds as nixbld users for whoever connects.
pub struct Daemon {
    child: Child,
    /// Since when it cannot be started again.
    down: Option<Instant>,
}

impl Daemon {
    /// Start it and wait until it answers.
    pub fn start() -> Result<Self, Error> {
        let failed = |why: String| Error::Nix { command: "nix-daemon".to_owned(), why };
        let mut command = user::as_root("nix-daemon");
        command.stdin(Stdio::null());
        let child = children::spawn(&mut command).map_err(|why| failed(why.to_string()))?;
        let mut daemon = Self { child, down: None };
        let deadline = Instant::now() + Duration::from_secs(PATIENCE);
        while UnixStream::connect(SOCKET).is_err() {
            if let Some(status) = daemon.ended() {
                return Err(failed(format!("it ended at once: {status}")));
            }
            if stop::order() == Some(Order::AtOnce) || Instant::now() > deadline {
                daemon.stop();
                return Err(Error::NoDaemon(PATIENCE));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.ended()
    }

    /// Start it again when it has ended; an error when that fails for long.
    pub fn keep(&mut self) -> Result<(), Error> {
        let Some(status) = self.ended() else { return Ok(()) };
        if self.down.is_none() {
            say(&format!("nix-daemon ended ({status}): starting it again"));
        }
        match Self::start() {
            Ok(started) => *self = started,
            Err(error) if self.down.get_or_insert_with(Instant::now).elapsed() > DOWN => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    /// End it; running builds end with it.
    pub fn stop(mut self) {
        self.child.terminate(Signal::SIGTERM, Duration::from_secs(5));
    }
}
