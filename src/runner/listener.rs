//! GitHub's own program: started as the runner's user, its log followed, its end understood.

use std::{
    io::{self, BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{Mask, children, user};
use crate::contract;

/// What a line of the listener's log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Listening,
    Running(String),
    Completed(String),
    /// GitHub no longer knows this registration.
    RegistrationDeleted,
}

impl Event {
    fn of(line: &str) -> Option<Self> {
        // `2026-11-24 03:20:33Z: Running job: build`; lines without a time are banners.
        let said = line.split_once("Z: ").map_or(line, |(_, said)| said).trim();
        if said == "Listening for Jobs" || said.starts_with("Runner reconnected") {
            return Some(Self::Listening);
        }
        if let Some(job) = said.strip_prefix("Running job: ") {
            return Some(Self::Running(job.to_owned()));
        }
        if said.starts_with("Job ") && said.contains(" completed with result: ") {
            return Some(Self::Completed(said.to_owned()));
        }
        said.contains("registration has been deleted").then_some(Self::RegistrationDeleted)
    }
}

/// What the listener's exit code asks for.
///
/// Source: actions/runner, `src/Runner.Common/Constants.cs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// 0: it was told to end, or (ephemeral) its job is done.
    Done,
    /// 5: another live process uses this registration; a registration of our own would push it out.
    SessionConflict,
    /// 7: GitHub serves this version no more.
    VersionRefused,
    /// Everything else: start it again, ever more slowly.
    Again(String),
}

impl Verdict {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(0), _) => Self::Done,
            (Some(1), _) => Self::Again("it ended on an error (1)".to_owned()),
            (Some(2), _) => Self::Again("it asks for another try (2)".to_owned()),
            (Some(3 | 4), _) => Self::Again("it wants to update itself, which the image forbids".to_owned()),
            (Some(5), _) => Self::SessionConflict,
            (Some(6), _) => Self::Again("its configuration was refreshed (6)".to_owned()),
            (Some(7), _) => Self::VersionRefused,
            (Some(code), _) => Self::Again(format!("it ended with the unknown exit code {code}")),
            (None, signal) => Self::Again(format!("it was killed by signal {}", signal.unwrap_or_default())),
        }
    }
}

/// A running `Runner.Listener`.
pub struct Listener {
    child: Child,
    events: Receiver<Event>,
}

impl Listener {
    /// Start the runner that lies in `runner`, with its registration in `root`.
    pub fn start(runner: &Path, root: &Path, mask: &Arc<Mask>) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let mut command = user::as_runner(runner.join("bin/Runner.Listener"));
        command
            .arg("run")
            .env(contract::env::RUNNER_ROOT, root)
            .env("ACTIONS_RUNNER_HOOK_JOB_STARTED", contract::JOB_STARTED_HOOK)
            .env("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1")
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let child = children::spawn(&mut command)?;
        // Our ends of the pipe, or the reader would never see its end.
        drop(command);
        let (sender, events) = channel();
        let mask = Arc::clone(mask);
        thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                println!("{}", mask.apply(line.trim_end()));
                if let Some(event) = Event::of(&line)
                    && sender.send(event).is_err()
                {
                    return;
                }
            }
        })?;
        Ok(Self { child, events })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next event of the log, if one comes within `patience`.
    pub fn event(&self, patience: Duration) -> Option<Event> {
        match self.events.recv_timeout(patience) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            // It has closed its log: its end is near, and nobody needs to spin until then.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(patience.min(Duration::from_millis(100)));
                None
            }
        }
    }

    /// What it wants, when it has ended.
    pub fn ended(&mut self) -> Option<Verdict> {
        children::ended(&mut self.child).map(Verdict::of)
    }

    /// End it: it cancels its job, says goodbye to GitHub and goes; after `patience` it is killed.
    pub fn stop(mut self, patience: Duration) {
        children::terminate(&mut self.child, Signal::SIGINT, patience);
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

    use super::{Event, Verdict};

    #[test]
    fn the_listeners_lines_are_understood() {
        for (line, event) in [
            ("2026-11-24 03:20:33Z: Listening for Jobs", Some(Event::Listening)),
            ("2026-11-24 03:20:33Z: Runner reconnected.", Some(Event::Listening)),
            ("2026-11-24 03:20:33Z: Running job: build (x)", Some(Event::Running("build (x)".to_owned()))),
            (
                "2026-11-24 03:20:33Z: Job build completed with result: Succeeded",
                Some(Event::Completed("Job build completed with result: Succeeded".to_owned())),
            ),
            ("√ Connected to GitHub", None),
            ("Current runner version: '2.336.0'", None),
            (
                "Failed to create a session. The runner registration has been deleted from the server, please re-configure.",
                Some(Event::RegistrationDeleted),
            ),
        ] {
            assert_eq!(Event::of(line), event, "{line}");
        }
    }

    #[test]
    fn a_session_conflict_is_no_reason_to_register_again() {
        assert_eq!(Verdict::of(ExitStatus::from_raw(5 << 8)), Verdict::SessionConflict);
        assert_eq!(Verdict::of(ExitStatus::from_raw(7 << 8)), Verdict::VersionRefused);
        assert!(
            matches!(Verdict::of(ExitStatus::from_raw(9)), Verdict::Again(why) if why.contains("signal 9"))
        );
    }
}
