//! Processes that a job left behind: they would see the next job, or the next registration token.
//!
//! A list of processes that is killed one by one loses against a process that forks and ends: its child is
//! not on the list. `kill(-1)` does not lose, because the kernel goes through all processes while none can be
//! added; but it must be sent by the jobs' own user, to whom everybody else is out of reach.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Ids, children, user};
use crate::contract;

/// How long the killing may take before the container counts as out of control.
const MOST: Duration = Duration::from_secs(30);
/// One killer's; a process that it hits in the last moment may stop it.
const ONE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(20);

/// Processes of the runner's user that live on although everything was done.
#[derive(Debug, thiserror::Error)]
#[error("{0} processes of the runner's user cannot be ended: no job can be trusted beside them")]
pub struct Survivors(usize);

/// End every process of the runner's user, the listener among them; how many there were. When this
/// returns well there is none, and none can come but by us.
pub fn end_all(ids: Ids) -> Result<usize, Survivors> {
    let found = processes_of(ids.uid).len();
    let deadline = Instant::now() + MOST;
    loop {
        children::reap();
        let left = processes_of(ids.uid);
        if left.is_empty() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(Survivors(left.len()));
        }
        let mut killer = user::end_jobs(ids);
        if children::finish(&mut killer, ONE).is_err() {
            // No room for another process, say: one by one makes some.
            for pid in processes_of(ids.uid) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        children::reap();
        if !processes_of(ids.uid).is_empty() {
            std::thread::sleep(TICK);
        }
    }
}

/// A worker, the part of the runner that runs a job's steps, as its listener's processes show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worker {
    Absent,
    /// It has ended, and its listener has not buried it.
    Ended,
    Lives,
}

pub fn worker(ids: Ids) -> Worker {
    let mut found = Worker::Absent;
    for pid in processes_of(ids.uid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        if field("Name:").trim() == contract::WORKER {
            if !field("State:").trim().starts_with('Z') {
                return Worker::Lives;
            }
            found = Worker::Ended;
        }
    }
    found
}

/// The processes of one user, those included that nobody has buried yet.
pub fn processes_of(uid: u32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        // Real, effective, saved and file system's: one of them is enough.
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
        line.split_whitespace().any(|id| id.parse() == Ok(uid))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::processes_of;

    #[test]
    fn a_users_processes_are_found() {
        let (uid, own) = (nix::unistd::getuid().as_raw(), nix::unistd::getpid().as_raw());
        assert!(processes_of(uid).contains(&own));
        assert!(!processes_of(uid + 1).contains(&own));
    }
}
