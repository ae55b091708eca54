//! Processes that a job left behind: they would see the next job, or outlive a cancelled one.

use std::{collections::BTreeMap, fs};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::contract;

/// Kill every process of the runner's user that does not descend from the listener `keep`; their number.
pub fn kill_leftovers(keep: u32) -> usize {
    let processes = processes_of(contract::RUNNER_UID);
    let descends = |pid: u32| {
        let mut at = pid;
        // As deep as a tree of processes can be, in case a parent's id is used again while we read.
        for _ in 0..=processes.len() {
            if at == keep {
                return true;
            }
            match processes.get(&at) {
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        false
    };
    let leftovers: Vec<u32> = processes.keys().copied().filter(|pid| !descends(*pid)).collect();
    for pid in &leftovers {
        let _ = kill(Pid::from_raw(i32::try_from(*pid).unwrap_or(i32::MAX)), Signal::SIGKILL);
    }
    leftovers.len()
}

/// Process id → parent's, for the processes of one user.
fn processes_of(uid: u32) -> BTreeMap<u32, u32> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<u32>().ok()
        };
        if field("Uid:") == Some(uid)
            && let Some(parent) = field("PPid:")
        {
            processes.insert(pid, parent);
        }
    }
    processes
}
