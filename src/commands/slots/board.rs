//! How the slots are, in one `state.json` for `status`, and for systemd.

use std::{fs, sync::Mutex};

use jiff::Timestamp;
use sd_notify::NotifyState;

use crate::{
    contract::{self, Phase, State},
    installation::Installation,
    progress::printable,
};

/// Why no job is to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Only for as long as a command renews it, which need not wait for uploads.
    pub leased: bool,
}

/// What each slot last said of itself.
pub struct Board {
    installation: Installation,
    shown: Mutex<Shown>,
}

struct Shown {
    slots: Vec<(Phase, String)>,
    /// What is the matter with all of them.
    trouble: String,
    /// Uploads and containers of jobs that are over.
    being_buried: u32,
    drained: Option<Drain>,
    state: Option<State>,
    is_ready: bool,
}

impl Board {
    pub fn new(installation: Installation) -> Self {
        let shown = Shown {
            slots: Vec::new(),
            trouble: String::new(),
            being_buried: 0,
            drained: None,
            state: None,
            is_ready: false,
        };
        Self { installation, shown: Mutex::new(shown) }
    }

    fn change(&self, change: impl FnOnce(&mut Shown)) {
        let Ok(mut shown) = self.shown.lock() else { return };
        change(&mut shown);
        let state = shown.state();
        if shown
            .state
            .as_ref()
            .is_some_and(|before| before.phase == state.phase && before.message == state.message)
        {
            return;
        }
        self.write(&state);
        let mut told = vec![NotifyState::Status(&state.message)];
        // The unit is up when the first slot listens.
        let is_up = matches!(state.phase, Phase::Listening | Phase::Busy);
        if is_up && !std::mem::replace(&mut shown.is_ready, true) {
            told.push(NotifyState::Ready);
        }
        let _ = sd_notify::notify(&told);
        shown.state = Some(state);
    }

    /// A slot, counted from 1.
    pub fn tell(&self, slot: u32, phase: Phase, message: &str) {
        self.change(|shown| {
            let at = slot.saturating_sub(1) as usize;
            if phase == Phase::Stopping && shown.slots.len() <= at {
                return;
            }
            if shown.slots.len() <= at {
                shown.slots.resize(at + 1, (Phase::Starting, String::new()));
            }
            shown.slots[at] = (phase, printable(message));
        });
    }

    /// There are to be so many slots; one that still has a job is shown until that has ended.
    pub fn resize(&self, slots: u32) {
        self.change(|shown| {
            let is_at_rest = |(phase, _): &(Phase, String)| {
                matches!(phase, Phase::Drained | Phase::GaveUp | Phase::Stopping)
            };
            while shown.slots.len() > slots as usize && shown.slots.last().is_some_and(is_at_rest) {
                shown.slots.pop();
            }
        });
    }

    /// No job is to start; nothing: they are again.
    pub fn drained(&self, drained: Option<Drain>) {
        self.change(|shown| shown.drained = drained);
    }

    /// What is the matter with all of them; empty, when nothing is.
    pub fn trouble(&self, why: &str) {
        self.change(|shown| shown.trouble = printable(why));
    }

    /// One more job is being buried.
    pub fn burial(&self) {
        self.change(|shown| shown.being_buried += 1);
    }

    pub fn buried(&self) {
        self.change(|shown| shown.being_buried = shown.being_buried.saturating_sub(1));
    }

    fn write(&self, state: &State) {
        let folder = &self.installation.handover;
        let beside = folder.join(".state.json");
        if let Ok(text) = serde_json::to_vec(state)
            && fs::write(&beside, text).is_ok()
        {
            let _ = fs::rename(&beside, folder.join(contract::HANDOVER_STATE));
        }
    }
}

impl Shown {
    fn state(&self) -> State {
        let of = |phase: Phase| self.slots.iter().filter(|(slot, _)| *slot == phase).count();
        let (busy, listening) = (of(Phase::Busy), of(Phase::Listening));
        let at_rest = self.slots.iter().all(|(phase, _)| matches!(phase, Phase::Drained | Phase::Stopping));
        let phase = if busy > 0 {
            Phase::Busy
        } else if listening > 0 {
            Phase::Listening
        } else if at_rest && self.drained.is_some_and(|drain| drain.leased || self.being_buried == 0) {
            Phase::Drained
        } else if !self.slots.is_empty() && of(Phase::GaveUp) == self.slots.len() {
            Phase::GaveUp
        } else {
            Phase::Starting
        };
        let mut said = vec![format!("{} slots, {busy} busy, {listening} listening", self.slots.len())];
        let own = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, (phase, text))| !text.is_empty() && *phase != Phase::Listening);
        said.extend(own.map(|(at, (_, text))| format!("slot {}: {text}", at + 1)));
        said.extend((!self.trouble.is_empty()).then(|| self.trouble.clone()));
        if self.being_buried > 0 {
            said.push(format!(
                "{} that have ended are being removed, after their last uploads",
                self.being_buried
            ));
        }
        State {
            phase,
            since: match &self.state {
                Some(before) if before.phase == phase => before.since,
                _ => Timestamp::now(),
            },
            sandbox: None,
            damaged: false,
            draining: if self.drained.is_some() && phase != Phase::Drained {
                "no other follows".to_owned()
            } else {
                String::new()
            },
            message: said.join("; "),
        }
    }
}
