//! What a running container takes of its caps, read from its cgroup.

use std::{fs, path::Path};

use super::{Error, caps::Folders};

/// What the kernel counts, since the container was started.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Usage {
    pub memory_bytes: u64,
    pub memory_peak_bytes: u64,
    pub pids: u64,
    pub cpu_seconds: f64,
    /// For how long it wanted more processors than it may have.
    pub throttled_seconds: f64,
    /// Processes that were killed because it came to its memory cap.
    pub oom_kills: u64,
}

impl Usage {
    /// Of the container that a process is in.
    pub fn of(pid: u32) -> Result<Self, Error> {
        Ok(match Folders::of(pid)? {
            Folders::Unified(folder) => Self::version_2(&folder),
            Folders::Each { memory, cpu, cpuacct, pids } => {
                Self::version_1(&memory, cpu.as_deref(), cpuacct.as_deref(), pids.as_deref())
            }
        })
    }

    /// What another container takes beside it.
    pub fn add(&mut self, other: &Self) {
        self.memory_bytes += other.memory_bytes;
        self.memory_peak_bytes += other.memory_peak_bytes;
        self.pids += other.pids;
        self.cpu_seconds += other.cpu_seconds;
        self.throttled_seconds += other.throttled_seconds;
        self.oom_kills += other.oom_kills;
    }

    fn version_1(memory: &Path, cpu: Option<&Path>, cpuacct: Option<&Path>, pids: Option<&Path>) -> Self {
        let of = |folder: Option<&Path>, file: &str, name: Option<&str>| {
            folder.map_or(0, |folder| value(&text(&folder.join(file)), name))
        };
        #[expect(clippy::cast_precision_loss, reason = "seconds of a processor's time")]
        let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
        let memory = Some(memory);
        Self {
            memory_bytes: of(memory, "memory.usage_in_bytes", None),
            memory_peak_bytes: of(memory, "memory.max_usage_in_bytes", None),
            pids: of(pids, "pids.current", None),
            cpu_seconds: seconds(of(cpuacct, "cpuacct.usage", None)),
            throttled_seconds: seconds(of(cpu, "cpu.stat", Some("throttled_time"))),
            oom_kills: of(memory, "memory.oom_control", Some("oom_kill")),
        }
    }

    /// A file that an older kernel has not counts as zero.
    fn version_2(cgroup: &Path) -> Self {
        // An engine may put the process into a folder below the one that carries the limits.
        let folder = cgroup
            .ancestors()
            .take(3)
            .find(|folder| folder.join("memory.max").exists() && is_limited(folder));
        let folder = folder.unwrap_or(cgroup);
        let number = |file: &str| value(&text(&folder.join(file)), None);
        let field = |file: &str, name: &str| value(&text(&folder.join(file)), Some(name));
        #[expect(clippy::cast_precision_loss, reason = "seconds of a processor's time")]
        let seconds = |name: &str| field("cpu.stat", name) as f64 / 1e6;
        Self {
            memory_bytes: number("memory.current"),
            memory_peak_bytes: number("memory.peak"),
            pids: number("pids.current"),
            cpu_seconds: seconds("usage_usec"),
            throttled_seconds: seconds("throttled_usec"),
            oom_kills: field("memory.events", "oom_kill"),
        }
    }
}

fn is_limited(folder: &Path) -> bool {
    text(&folder.join("memory.max")).trim() != "max"
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// The file's one number, or the number of one of its lines.
fn value(text: &str, name: Option<&str>) -> u64 {
    let number = match name {
        None => Some(text.trim()),
        Some(name) => {
            text.lines().find_map(|line| line.split_once(' ').filter(|(key, _)| *key == name)).map(|(_, n)| n)
        }
    };
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Usage;

    #[test]
    fn what_is_taken_is_read_where_the_limits_are() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("container");
        fs::create_dir(&inner).unwrap();
        for (file, text) in [
            ("memory.max", "1073741824\n"),
            ("memory.current", "1000\n"),
            ("memory.peak", "2000\n"),
            ("memory.events", "low 0\noom 3\noom_kill 2\n"),
            ("pids.current", "7\n"),
            ("cpu.stat", "usage_usec 1500000\nuser_usec 1\nthrottled_usec 250000\n"),
        ] {
            fs::write(root.path().join(file), text).unwrap();
        }
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(inner.join("memory.current"), "1\n").unwrap();
        let usage = Usage::version_2(&inner);
        assert_eq!(
            (usage.memory_bytes, usage.memory_peak_bytes, usage.oom_kills, usage.pids),
            (1000, 2000, 2, 7)
        );
        let write = |file: &str, text: &str| fs::write(inner.join(file), text).unwrap();
        write("memory.usage_in_bytes", "5\n");
        write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
        write("cpuacct.usage", "2500000000\n");
        let older = Usage::version_1(&inner, None, Some(&inner), None);
        assert_eq!((older.memory_bytes, older.oom_kills, older.pids), (5, 4, 0));
        assert!((older.cpu_seconds - 2.5).abs() < 1e-9);
        assert!((usage.cpu_seconds - 1.5).abs() < 1e-9 && (usage.throttled_seconds - 0.25).abs() < 1e-9);
    }
}
