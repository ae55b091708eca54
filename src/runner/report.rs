use std::{
    fmt, fs,
    io::{self, Write as _},
    path::PathBuf,
};

use jiff::Timestamp;
use sd_notify::NotifyState;

use crate::contract::{self, Phase, State};

/// More than one sentence.
const LONGEST: usize = 400;

/// What systemd is told; elsewhere nobody listens.
type Notify = fn(&[NotifyState<'_>]) -> io::Result<()>;

/// What PID 1 tells the host: its phase, in the handover folder and to systemd when that listens.
pub struct Report {
    folder: PathBuf,
    state: State,
    notify: Notify,
    /// systemd was told that the unit is up; it wants to hear that once.
    ready: bool,
}

impl Report {
    pub fn new() -> Self {
        Self::into_folder(contract::HANDOVER_MOUNT.into(), sd_notify::notify)
    }

    fn into_folder(folder: PathBuf, notify: Notify) -> Self {
        let state = State {
            phase: Phase::Starting,
            since: Timestamp::now(),
            sandbox: None,
            message: String::new(),
            damaged: false,
            draining: String::new(),
        };
        let report = Self { folder, state, notify, ready: false };
        report.write();
        report
    }

    pub fn phase(&self) -> Phase {
        self.state.phase
    }

    pub fn sandbox(&mut self, sandboxed: bool) {
        self.state.sandbox = Some(sandboxed);
        self.write();
    }

    /// The store lacks or has damaged what the runner needs; written with the next phase.
    pub fn damaged(&mut self) {
        self.state.damaged = true;
    }

    /// It is told to end, and lets its job finish first; not any more, when `how` is empty.
    pub fn drain(&mut self, how: &str) {
        if self.state.draining != how {
            how.clone_into(&mut self.state.draining);
            self.write();
        }
    }

    /// A new phase, with one sentence for the person who asks for the status.
    pub fn enter(&mut self, phase: Phase, message: &str) {
        if self.state.phase != phase {
            self.state.since = Timestamp::now();
        }
        self.state.phase = phase;
        self.state.message = one_sentence(message);
        self.write();
        let mut states = vec![NotifyState::Status(&self.state.message)];
        if phase == Phase::Listening && !std::mem::replace(&mut self.ready, true) {
            states.push(NotifyState::Ready);
        }
        // Nobody listens outside of systemd and podman's sdnotify: that is no failure.
        let _ = (self.notify)(&states);
    }

    /// Replaced whole. A container that is run by hand has no handover folder: nobody reads there.
    fn write(&self) {
        let beside = self.folder.join(".state.json");
        if let Ok(text) = serde_json::to_vec(&self.state)
            && fs::write(&beside, text).is_ok()
        {
            let _ = fs::rename(&beside, self.folder.join(contract::HANDOVER_STATE));
        }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

/// A job's name comes from outside, and this goes to a person's terminal.
fn one_sentence(message: &str) -> String {
    message.chars().map(|one| if one.is_control() { ' ' } else { one }).take(LONGEST).collect()
}

/// One line of our own in the container's log.
pub fn say(what: &(impl fmt::Display + ?Sized)) {
    say_line(&format!("vega-builder: {what}"));
}

/// A line as it is. The log may be gone; that ends nothing.
pub fn say_line(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs};

    use sd_notify::NotifyState;

    use super::Report;
    use crate::contract::{HANDOVER_STATE, Phase, State};

    thread_local! {
        static READY: Cell<u32> = const { Cell::new(0) };
    }

    #[expect(clippy::unnecessary_wraps, reason = "as systemd's own")]
    fn count(states: &[NotifyState<'_>]) -> std::io::Result<()> {
        let ready = states.iter().filter(|state| matches!(state, NotifyState::Ready)).count();
        READY.set(READY.get() + u32::try_from(ready).unwrap());
        Ok(())
    }

    #[test]
    fn systemd_hears_once_that_the_runner_listens() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::into_folder(folder.path().to_owned(), count);
        report.enter(Phase::WaitingForToken, "");
        assert_eq!(READY.get(), 0);
        for phase in [Phase::Listening, Phase::Busy, Phase::Starting, Phase::Listening] {
            report.enter(phase, "");
            assert_eq!(READY.get(), 1);
        }
    }

    #[test]
    fn what_a_jobs_name_does_to_a_terminal_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::into_folder(folder.path().to_owned(), |_| Ok(()));
        report.enter(Phase::Busy, "running \u{1b}[2Jjob\nnext");
        let text = fs::read(folder.path().join(HANDOVER_STATE)).unwrap();
        let state: State = serde_json::from_slice(&text).unwrap();
        assert_eq!(state.message, "running  [2Jjob next");
        assert!(!String::from_utf8(text).unwrap().contains("damaged"));
    }
}
