//! What the pusher says of itself, for `status`.

use std::{fs, io, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Queue, STATE};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub since: Timestamp,
    /// Builds that wait, the one that is on its way among them.
    pub waiting: usize,
    /// Paths that were pushed, ever.
    pub pushed: u64,
    /// Compressed bytes that were pushed, ever.
    pub bytes: u64,
    /// Compressed bytes of what is on its way now that have gone out already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<u64>,
    /// Builds that found no room.
    pub dropped: u64,
    /// The last paths that stayed here, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<(String, String)>,
    /// Not empty: the cache does not take anything now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// More of them nobody reads.
const REFUSED: usize = 20;

impl Default for State {
    fn default() -> Self {
        Self {
            since: Timestamp::now(),
            waiting: 0,
            pushed: 0,
            bytes: 0,
            sending: None,
            dropped: 0,
            refused: Vec::new(),
            error: String::new(),
        }
    }
}

impl State {
    /// What is written at a queue's folder.
    pub fn read(queue: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(queue.join(STATE)).ok()?).ok()
    }

    /// The same for the last time: nobody counts it twice.
    pub fn take(queue: &Path) -> Option<Self> {
        let said = Self::read(queue)?;
        fs::remove_file(queue.join(STATE)).ok()?;
        Some(said)
    }

    /// What another pusher says, besides.
    pub fn add(&mut self, other: Self) {
        self.waiting += other.waiting;
        self.pushed += other.pushed;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
        if let Some(sending) = other.sending {
            *self.sending.get_or_insert(0) += sending;
        }
        for (path, why) in other.refused {
            self.refuse(path, why);
        }
        if self.error.is_empty() {
            self.error = other.error;
        }
    }

    pub fn refuse(&mut self, path: String, why: String) {
        self.refused.push((path, why));
        let surplus = self.refused.len().saturating_sub(REFUSED);
        self.refused.drain(..surplus);
    }
}

impl Queue {
    pub fn state(&self) -> State {
        State::read(&self.root).unwrap_or_default()
    }

    /// Whole; after a power cut it may be that of a moment before.
    pub fn tell(&self, state: &State) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.root)?;
        serde_json::to_writer(&mut file, state)?;
        file.persist(self.root.join(STATE)).map_err(|error| error.error).map(drop)
    }
}
