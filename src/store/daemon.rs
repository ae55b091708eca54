//! nix-daemon: started, asked now and then whether it still answers, and started again.

use std::{
    io::{self, Read as _, Write as _},
    mem,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::Error;
use crate::runner::{
    children::{self, Child},
    pace::{Next, Pace, Pause},
    say,
    stop::{self, Order},
    user,
};

const SOCKET: &str = "/nix/var/nix/daemon-socket/socket";
const PATIENCE: u64 = 20;
/// For how long another try is worth it: a job that takes every process id ends some day, or is ended.
const DOWN: Duration = Duration::from_secs(60);
/// One that lasted so long is replaced at once; one that did not, ever more slowly.
const LASTED: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(10);
/// Between two questions whether it answers, and how long an answer may take on a busy machine.
const ASK: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(30);
/// The first one's.
const START: Duration = Duration::from_secs(5);
/// How a conversation begins.
///
/// Source: Nix, `src/libstore/worker-protocol.hh`.
const HELLO: u64 = 0x6e69_7863;
const OURS: u64 = 0x115;

/// nix-daemon: builds as nixbld users for whoever connects.
pub struct Daemon {
    /// Of a host: the runner's folder there.
    on_host: Option<PathBuf>,
    child: Child,
    /// Since when it cannot be started again.
    down: Option<Instant>,
    began: Instant,
    /// After a short life: not before then, and not for ever.
    pace: Pace,
    /// It is not the first that ended soon.
    is_second: bool,
    again: Option<Instant>,
    /// When it was last asked whether it answers, and who waits for that.
    asked: Instant,
    answer: Option<Receiver<()>>,
}

impl Daemon {
    /// Start it and wait until it answers.
    pub fn start(on_host: Option<&Path>) -> Result<Self, Error> {
        let mut command = match on_host {
            None => user::as_root("nix-daemon"),
            Some(folder) => {
                let mut command = user::as_root(user::this_program());
                command.arg("host-view").arg(folder).args(["--", "nix-daemon"]);
                command
            }
        };
        // Not a line for every connection.
        command.arg("--quiet").stdin(Stdio::null());
        let child = children::spawn(&mut command).map_err(|why| failed(why.to_string()))?;
        let on_host = on_host.map(Path::to_owned);
        let now = Instant::now();
        let mut daemon = Self {
            on_host,
            child,
            down: None,
            began: now,
            pace: Pace::default(),
            is_second: false,
            again: None,
            asked: now,
            answer: None,
        };
        let deadline = Instant::now() + Duration::from_secs(PATIENCE);
        while converse(START).is_err() {
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

    /// Start it again when it has ended, or answers no more; an error when that fails for long.
    pub fn keep(&mut self) -> Result<(), Error> {
        if self.hangs() {
            say("nix-daemon does not answer: starting it again");
            // Builds that run have processes of their own.
            self.child.terminate(Signal::SIGKILL, Duration::from_secs(5));
        }
        let Some(status) = self.ended() else { return Ok(()) };
        let wait = match self.again {
            Some(again) => again.saturating_duration_since(Instant::now()),
            None => self.after(status)?,
        };
        if !wait.is_zero() {
            return Ok(());
        }
        match Self::start(self.on_host.as_deref()) {
            Ok(started) => {
                *self = Self { pace: mem::take(&mut self.pace), is_second: self.is_second, ..started }
            }
            Err(error) if self.down.get_or_insert_with(Instant::now).elapsed() > DOWN => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    /// How long the next one is to be waited for; an error when it ends again and again.
    fn after(&mut self, status: ExitStatus) -> Result<Duration, Error> {
        if self.began.elapsed() > LASTED {
            self.pace.reset();
            self.is_second = false;
        }
        // A build that begins now is not to miss it.
        let wait = if mem::replace(&mut self.is_second, true) {
            match self.pace.after(self.began, Pause::Growing(Duration::ZERO)) {
                // Jobs come all the while.
                Next::Wait(wait) => wait.min(LONGEST),
                Next::GiveUp => return Err(failed(format!("it ends again and again ({status})"))),
            }
        } else {
            Duration::ZERO
        };
        if self.pace.is_news("ended") {
            say(&format!("nix-daemon ended ({status}): starting it again"));
        }
        self.again = Some(Instant::now() + wait);
        Ok(wait)
    }

    /// Whether it has left a question open for too long. Another is asked from time to time, by a thread that may wait.
    fn hangs(&mut self) -> bool {
        let Some(answer) = &self.answer else {
            if self.asked.elapsed() > ASK {
                let (told, answer) = channel();
                let asking = thread::Builder::new().stack_size(128 * 1024).spawn(move || {
                    // A refusal is an answer, too.
                    let _ = converse(ANSWER * 2);
                    let _ = told.send(());
                });
                self.asked = Instant::now();
                self.answer = asking.is_ok().then_some(answer);
            }
            return false;
        };
        match answer.recv_timeout(Duration::ZERO) {
            Err(RecvTimeoutError::Timeout) => {
                let hangs = self.asked.elapsed() > ANSWER;
                if hangs {
                    self.answer = None;
                }
                hangs
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                self.answer = None;
                false
            }
        }
    }

    /// End it; running builds end with it.
    pub fn stop(mut self) {
        self.child.terminate(Signal::SIGTERM, Duration::from_secs(5));
    }
}

fn failed(why: String) -> Error {
    Error::Nix { command: "nix-daemon".to_owned(), why }
}

/// Begin a conversation as any client does, and end it: it needs the daemon's own process, and one that this starts.
fn converse(patience: Duration) -> io::Result<()> {
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&HELLO.to_le_bytes())?;
    let mut reply = [0; 16];
    stream.read_exact(&mut reply)?;
    // Our version; no processor of our own, no space set aside.
    for word in [OURS, 0, 0] {
        stream.write_all(&word.to_le_bytes())?;
    }
    stream.read_exact(&mut [0; 8])
}
