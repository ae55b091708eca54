use std::{fs, path::PathBuf};

use jiff::Timestamp;
use sd_notify::NotifyState;

use crate::contract::{self, Phase, State};

/// What PID 1 tells the host: its phase, in the handover folder and to systemd when that listens.
pub struct Report {
    folder: PathBuf,
    state: State,
}

impl Report {
    pub fn new() -> Self {
        Self::into_folder(contract::HANDOVER_MOUNT.into())
    }

    fn into_folder(folder: PathBuf) -> Self {
        let state = State {
            phase: Phase::Starting,
            since: Timestamp::now(),
            sandbox: None,
            damaged: false,
            message: String::new(),
        };
        let report = Self { folder, state };
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

    /// A new phase, with one sentence for the person who asks for the status.
    pub fn enter(&mut self, phase: Phase, message: &str) {
        let first_listening = phase == Phase::Listening && self.state.phase != Phase::Busy;
        if self.state.phase != phase {
            self.state.since = Timestamp::now();
        }
        self.state.phase = phase;
        message.clone_into(&mut self.state.message);
        self.write();
        let mut states = vec![NotifyState::Status(message)];
        states.extend(first_listening.then_some(NotifyState::Ready));
        // Nobody listens outside of systemd and podman's sdnotify: that is no failure.
        let _ = sd_notify::notify(&states);
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
