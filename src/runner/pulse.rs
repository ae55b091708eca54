//! Whether a process still does anything. GitHub's listener asks for jobs again every fifty seconds at the latest: one
//! whose threads have not run once in that time never will. While GitHub does not answer, it sleeps for up to a minute
//! between two tries.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Without a sign of life for so long, it is none that waits.
const STILL: Duration = Duration::from_secs(55);
/// The same of one that GitHub does not answer.
const STILL_AWAY: Duration = Duration::from_secs(150);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    Alive,
    /// Somebody has stopped it: a signal lets it go on.
    Stopped,
    /// None of its threads has run for long.
    Still,
}

/// What a process has done so far.
#[derive(Debug)]
pub struct Pulse {
    pid: i32,
    switches: u64,
    since: Instant,
    is_away: bool,
}

impl Pulse {
    pub fn of(pid: i32) -> Self {
        Self { pid, switches: switches(pid), since: Instant::now(), is_away: false }
    }

    /// Whether somebody answers it; true when that is news.
    pub fn hear(&mut self, is_away: bool) -> bool {
        std::mem::replace(&mut self.is_away, is_away) != is_away
    }

    pub fn look(&mut self) -> Beat {
        let switches = switches(self.pid);
        if switches != self.switches {
            (self.switches, self.since) = (switches, Instant::now());
        }
        match state(self.pid) {
            Some('T' | 't') => Beat::Stopped,
            // It has ended: somebody else asks for that.
            None | Some('Z' | 'X') => Beat::Alive,
            Some(_) if self.since.elapsed() > if self.is_away { STILL_AWAY } else { STILL } => Beat::Still,
            Some(_) => Beat::Alive,
        }
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn state(pid: i32) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, "State")?.chars().next()
}

/// How often its threads have been taken off a processor, or left it, together.
fn switches(pid: i32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |thread: fs::DirEntry| -> Option<u64> {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        let count =
            |name| field(&status, name).and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        Some(count("voluntary_ctxt_switches") + count("nonvoluntary_ctxt_switches"))
    };
    threads.filter_map(of).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        thread,
        time::{Duration, Instant},
    };

    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    use super::{Beat, Pulse, STILL};

    #[test]
    fn a_stopped_process_a_still_one_and_one_that_lives_are_told_apart() {
        let mut child = Command::new("sh").args(["-c", "while sleep 0.05; do :; done"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut pulse = Pulse::of(pid);
        pulse.since = Instant::now().checked_sub(STILL).unwrap();
        thread::sleep(Duration::from_millis(500));
        assert_eq!(pulse.look(), Beat::Alive);
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(pulse.look(), Beat::Stopped);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(pulse.look(), Beat::Alive);

        let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
        thread::sleep(Duration::from_millis(200));
        let mut pulse = Pulse::of(i32::try_from(sleeper.id()).unwrap());
        assert_eq!(pulse.look(), Beat::Alive);
        pulse.since = Instant::now().checked_sub(STILL + Duration::from_secs(1)).unwrap();
        pulse.hear(true);
        assert_eq!(pulse.look(), Beat::Alive, "it waits for another try");
        pulse.hear(false);
        assert_eq!(pulse.look(), Beat::Still);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
}
