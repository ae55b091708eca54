//! GitHub's own program: started as the runner's user for one job, its log followed, its end understood.

use std::{
    io::{self, BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{Mask, Quarters, Rooted, children, children::Child, pace::Pause, report::say_line, user};
use crate::contract;

/// What a line of the listener's log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Listening,
    Running(String),
    Completed(String),
    /// GitHub does not answer; it goes on asking by itself.
    Away,
    Back,
    /// GitHub no longer knows this registration.
    RegistrationDeleted,
}

/// The listener's last words when no session can be had for want of a registration.
///
/// Source: actions/runner, `MessageListener.cs` and `BrokerMessageListener.cs`, `CreateSessionAsync`.
const DELETED: [&str; 2] = [
    "Failed to create a session. The runner registration has been deleted from the server, please re-configure. \
     Runner registrations are automatically deleted for runners that have not connected to the service recently.",
    "The runner no longer exists on the server. Please reconfigure the runner.",
];

impl Event {
    fn of(line: &str) -> Option<Self> {
        // `2026-11-24 03:20:33Z: Running job: build`; lines without a time are banners.
        let said = line.split_once("Z: ").map_or(line, |(_, said)| said).trim();
        if said == "Listening for Jobs" {
            return Some(Self::Listening);
        }
        // Once in an outage, and once after it. That somebody has the session is an answer.
        //
        // Source: actions/runner, `MessageListener.cs` and `BrokerMessageListener.cs`.
        if said.starts_with("Runner connect error") && !said.contains("Conflict") {
            return Some(Self::Away);
        }
        if said == "Runner reconnected." {
            return Some(Self::Back);
        }
        if let Some(job) = said.strip_prefix("Running job: ") {
            return Some(Self::Running(job.to_owned()));
        }
        if said.starts_with("Job ") && said.contains(" completed with result: ") {
            return Some(Self::Completed(said.to_owned()));
        }
        DELETED.contains(&said).then_some(Self::RegistrationDeleted)
    }
}

/// What the listener's exit code asks for.
///
/// Source: actions/runner, `src/Runner.Common/Constants.cs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// 0: its job is done, or it was told to end.
    Done,
    /// 1: an error that another try does not mend, in its own opinion.
    Failed,
    /// 2: an error that passes, the server's say.
    Retry,
    /// 5: another live process uses this registration; a registration of our own would push it out.
    SessionConflict,
    /// 7: GitHub serves this version no more.
    VersionRefused,
    /// It was ended by us, and not for its own sake.
    Unwanted(Pause, String),
    /// Everything else: start it again, ever more slowly.
    Again(String),
}

impl Verdict {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(0), _) => Self::Done,
            (Some(1), _) => Self::Failed,
            (Some(2), _) => Self::Retry,
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
    /// Start the runner, with its registration in the root of these quarters, for one job: what the job did to the
    /// processes of its user ends with this life.
    ///
    /// Where `completed` is given, the runner calls that after the job's last step.
    pub fn start(
        runner: &Rooted,
        quarters: &Quarters,
        mask: &Arc<Mask>,
        completed: Option<&str>,
    ) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let (sender, events) = channel();
        let mask = Arc::clone(mask);
        // First the ear: without it, nobody is to speak.
        thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                say_line(&mask.apply(line.trim_end()));
                // The log is read on when nobody waits for events any more.
                if let Some(event) = Event::of(&line) {
                    let _ = sender.send(event);
                }
            }
        })?;
        let mut command = user::as_runner(quarters, runner.listener());
        command
            .args(["run", "--once"])
            .env(contract::env::RUNNER_ROOT, &quarters.root)
            .env("ACTIONS_RUNNER_HOOK_JOB_STARTED", contract::JOB_STARTED_HOOK)
            .envs(completed.map(|hook| ("ACTIONS_RUNNER_HOOK_JOB_COMPLETED", hook)))
            .env("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1")
            // .NET's own door for debuggers.
            .env("DOTNET_EnableDiagnostics", "0")
            .current_dir(&quarters.root)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        // Our ends of the pipe go with the command, or the ear would never hear its end.
        Ok(Self { child: children::spawn(&mut command)?, events })
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

    /// Its number here.
    pub fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// Have it go on, when somebody has stopped it.
    pub fn resume(&mut self) {
        self.child.signal(Signal::SIGCONT);
    }

    /// What it wants, when it has ended.
    pub fn ended(&mut self) -> Option<Verdict> {
        self.child.ended().map(Verdict::of)
    }

    /// End it: it cancels its job, says goodbye to GitHub and goes; after `patience` it is killed.
    pub fn stop(mut self, patience: Duration) {
        self.child.terminate(Signal::SIGINT, patience);
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

    use super::{DELETED, Event, Verdict};

    #[test]
    fn the_listeners_lines_are_understood() {
        for (line, event) in [
            ("2026-11-24 03:20:33Z: Listening for Jobs", Some(Event::Listening)),
            ("2026-11-24 03:20:33Z: Runner reconnected.", Some(Event::Back)),
            (
                "2026-11-24 03:20:33Z: Runner connect error: no route to host. Retrying until reconnected.",
                Some(Event::Away),
            ),
            ("2026-11-24 03:20:33Z: Running job: build (x)", Some(Event::Running("build (x)".to_owned()))),
            (
                "2026-11-24 03:20:33Z: Job build completed with result: Succeeded",
                Some(Event::Completed("Job build completed with result: Succeeded".to_owned())),
            ),
            ("√ Connected to GitHub", None),
            ("Current runner version: '2.336.0'", None),
            (
                "2026-11-24 03:20:33Z: Runner connect error: Error: Conflict. Retrying until reconnected.",
                None,
            ),
            (DELETED[0], Some(Event::RegistrationDeleted)),
            ("Job x: the runner registration has been deleted completed", None),
        ] {
            assert_eq!(Event::of(line), event, "{line}");
        }
    }

    #[test]
    fn a_jobs_name_does_not_pass_for_a_line_of_the_listeners() {
        let line = format!("2026-11-24 03:20:33Z: Running job: {}", DELETED[0]);
        assert_eq!(Event::of(&line), Some(Event::Running(DELETED[0].to_owned())));
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
