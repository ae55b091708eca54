//! The machine's clock against GitHub's: at the start, and whenever it has jumped.

use std::{
    process::Stdio,
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use url::Url;

use super::{children, user};
use crate::github::clock::Reading;

/// A jump is more than this.
const JUMP: i64 = 5;
/// While it is wrong, or not known, and then ever more seldom.
const AGAIN: Duration = Duration::from_secs(50);
const SELDOM: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(40);

pub struct Clock {
    server: Url,
    wall: Wall,
    asked: Option<Instant>,
    answer: Option<Receiver<Reading>>,
    wrong: Option<String>,
    /// The time until the next question.
    pause: Duration,
}

impl Clock {
    pub fn new(server: &Url) -> Self {
        Self {
            server: server.clone(),
            wall: Wall::at(now()),
            asked: None,
            answer: None,
            wrong: None,
            pause: AGAIN,
        }
    }

    /// Why no token of this machine would be accepted, as far as is known; and a question when it is due. Called again and
    /// again; it never waits.
    pub fn wrong(&mut self) -> Option<String> {
        self.hear();
        let jumped = self.wall.has_jumped(now());
        let is_due = self.asked.is_none_or(|asked| asked.elapsed() > self.pause);
        if self.answer.is_none() && (jumped || is_due) {
            self.ask();
        }
        self.wrong.clone()
    }

    fn hear(&mut self) {
        let Some(answer) = &self.answer else { return };
        match answer.try_recv() {
            Err(TryRecvError::Empty) => return,
            Ok(reading) => {
                self.wrong = reading.complaint();
                self.pause = if self.wrong.is_some() { AGAIN } else { SELDOM };
            }
            // There is no network, say: that proves nothing.
            Err(TryRecvError::Disconnected) => {
                self.pause = (self.pause * 2).clamp(AGAIN, SELDOM);
                self.wrong = None;
            }
        }
        self.answer = None;
    }

    /// In a process of its own, which PID 1 outlives whatever comes from outside; and not the runner's user's, whose jobs could
    /// answer in its place.
    fn ask(&mut self) {
        self.asked = Some(Instant::now());
        let (told, answer) = channel();
        let server = self.server.to_string();
        let asking = thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            let mut command = user::as_root(user::this_program());
            command.args(["clock", &server]).stdin(Stdio::null());
            let output = children::finish(&mut command, PATIENCE).ok();
            let said = output.filter(|output| output.status.success()).map(|output| output.stdout);
            if let Some(reading) = said.and_then(|said| serde_json::from_slice(&said).ok()) {
                let _ = told.send(reading);
            }
        });
        self.answer = asking.is_ok().then_some(answer);
    }
}

/// The wall's clock beside one that only counts.
struct Wall {
    /// What it said when the other one began to count.
    began: i64,
    steady: Instant,
}

impl Wall {
    fn at(now: i64) -> Self {
        Self { began: now, steady: Instant::now() }
    }

    /// Whether somebody has set it since it was last asked.
    fn has_jumped(&mut self, now: i64) -> bool {
        let counted = i64::try_from(self.steady.elapsed().as_secs()).unwrap_or(i64::MAX);
        let has = (now - self.began - counted).abs() > JUMP;
        if has {
            *self = Self::at(now);
        }
        has
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{JUMP, Wall};

    #[test]
    fn a_clock_that_is_set_either_way_is_seen_once() {
        let mut wall = Wall::at(1_000_000);
        assert!(!wall.has_jumped(1_000_000 + JUMP));
        assert!(wall.has_jumped(1_000_000 + 3600));
        assert!(!wall.has_jumped(1_000_000 + 3600));
        assert!(wall.has_jumped(1_000_000));
    }
}
