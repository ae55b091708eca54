use std::{
    os::unix::net::UnixStream,
    process::{Child, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::Error;
use crate::runner::{children, user};

const SOCKET: &str = "/nix/var/nix/daemon-socket/socket";
const PATIENCE: u64 = 20;

/// nix-daemon: builds as nixbld users for whoever connects.
pub struct Daemon(Child);

impl Daemon {
    /// Start it and wait until it answers.
    pub fn start() -> Result<Self, Error> {
        let mut command = user::as_root("nix-daemon");
        command.stdin(Stdio::null());
        let child = children::spawn(&mut command)
            .map_err(|why| Error::Nix { command: "nix-daemon".to_owned(), why: why.to_string() })?;
        let mut daemon = Self(child);
        let deadline = Instant::now() + Duration::from_secs(PATIENCE);
        while UnixStream::connect(SOCKET).is_err() {
            if let Some(status) = daemon.ended() {
                let why = format!("it ended at once: {status}");
                return Err(Error::Nix { command: "nix-daemon".to_owned(), why });
            }
            if Instant::now() > deadline {
                return Err(Error::NoDaemon(PATIENCE));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        children::ended(&mut self.0)
    }

    /// End it; running builds end with it.
    pub fn stop(mut self) {
        children::terminate(&mut self.0, nix::sys::signal::Signal::SIGTERM, Duration::from_secs(5));
    }
}
