//! The proof of the caps: what the kernel holds a running container to, read from its cgroup.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Error;
use crate::value::Caps;

/// One limit as the kernel states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Limit {
    Value(u64),
    /// The kernel holds the container to nothing here.
    #[serde(serialize_with = "unlimited")]
    Unlimited,
    /// The cgroup has no such file: the controller is not enabled, or the kernel has no swap accounting.
    #[serde(serialize_with = "absent")]
    Absent,
}

fn unlimited<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("max")
}

fn absent<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_none()
}

/// What is in force, in the files' own units.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct InForce {
    /// `memory.max`, bytes (cgroup v1: `memory.limit_in_bytes`).
    pub memory_max: Limit,
    /// `memory.swap.max`, bytes (v1: `memory.memsw.limit_in_bytes` less the memory's limit).
    pub swap_max: Limit,
    /// `cpu.max`, thousandths of a processor (v1: `cpu.cfs_quota_us` over `cpu.cfs_period_us`).
    pub cpu_max: Limit,
    /// `pids.max`.
    pub pids_max: Limit,
}

/// cgroup v1 writes "no limit" as the largest multiple of the page size.
const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_f000;

impl InForce {
    /// Read the cgroup of `pid`, a process of the running container.
    pub fn of(pid: u32) -> Result<Self, Error> {
        Ok(match Folders::of(pid)? {
            Folders::Unified(folder) => Self::version_2(&folder),
            Folders::Each { memory, cpu, pids, .. } => {
                Self::version_1(&memory, cpu.as_deref(), pids.as_deref())
            }
        })
    }

    fn version_2(cgroup: &Path) -> Self {
        // An engine may put the process into a folder below the one that carries the limits; a limit of a
        // parent holds for its children, so the tightest one on the way up counts, as far as `max` stands.
        let tightest = |file: &str| {
            let mut limits = cgroup.ancestors().take(3).map(|folder| number(&folder.join(file)));
            limits
                .find(|limit| matches!(limit, Limit::Value(_)))
                .unwrap_or_else(|| number(&cgroup.join(file)))
        };
        let cpu = cgroup.ancestors().take(3).find_map(|folder| quota(&read(&folder.join("cpu.max"))?));
        Self {
            memory_max: tightest("memory.max"),
            swap_max: tightest("memory.swap.max"),
            cpu_max: cpu.map_or_else(|| present(&cgroup.join("cpu.max")), Limit::Value),
            pids_max: tightest("pids.max"),
        }
    }

    fn version_1(memory: &Path, cpu: Option<&Path>, pids: Option<&Path>) -> Self {
        let memory_max = number(&memory.join("memory.limit_in_bytes"));
        let swap_max = match (number(&memory.join("memory.memsw.limit_in_bytes")), memory_max) {
            (Limit::Value(both), Limit::Value(memory)) => Limit::Value(both.saturating_sub(memory)),
            (both, _) => both,
        };
        let cpu_max = cpu.map_or(Limit::Absent, |cpu| {
            let quota = read(&cpu.join("cpu.cfs_quota_us")).and_then(|text| text.parse::<i64>().ok());
            let period = read(&cpu.join("cpu.cfs_period_us")).and_then(|text| text.parse::<u64>().ok());
            match (quota.map(u64::try_from), period) {
                (Some(Ok(quota)), Some(period)) if period > 0 => Limit::Value(quota * 1000 / period),
                (Some(_), _) => Limit::Unlimited,
                (None, _) => Limit::Absent,
            }
        });
        let pids_max = pids.map_or(Limit::Absent, |pids| number(&pids.join("pids.max")));
        Self { memory_max, swap_max, cpu_max, pids_max }
    }

    /// An error when one of `asked` is not in force, exactly or more tightly.
    pub fn prove(&self, asked: &Caps) -> Result<(), Error> {
        let mut missing = Vec::new();
        let mut check = |name: &str, limit: Limit, asked: u64| match limit {
            Limit::Value(value) if value <= asked => {}
            Limit::Value(value) => missing.push(format!("{name} is {value}, not {asked}")),
            Limit::Unlimited => missing.push(format!("{name} is unlimited, not {asked}")),
            Limit::Absent => missing.push(format!("{name} is not there")),
        };
        check("memory.max", self.memory_max, asked.memory.0);
        check("cpu.max (thousandths)", self.cpu_max, u64::from(asked.cpus.millis));
        check("pids.max", self.pids_max, u64::from(asked.pids));
        // Without swap on the host there is nothing to limit, and some kernels have no file then.
        if self.swap_max != Limit::Absent || host_has_swap() {
            check("memory.swap.max", self.swap_max, 0);
        }
        if missing.is_empty() { Ok(()) } else { Err(Error::CapsNotInForce { missing }) }
    }
}

/// The folders of a process.
pub(super) enum Folders {
    Unified(PathBuf),
    /// Of version 1, by controller; the memory's first.
    Each {
        memory: PathBuf,
        cpu: Option<PathBuf>,
        cpuacct: Option<PathBuf>,
        pids: Option<PathBuf>,
    },
}

impl Folders {
    pub fn of(pid: u32) -> Result<Self, Error> {
        let (memberships, mounts) = tree(pid)?;
        let folder = |controller: &str| folder_of(controller, &memberships, &mounts);
        let v1 = |controller: &str| folder(controller).filter(|folder| folder.v1).map(|folder| folder.path);
        match (v1("memory"), folder("").map(|folder| folder.path)) {
            (Some(memory), _) => {
                Ok(Self::Each { memory, cpu: v1("cpu"), cpuacct: v1("cpuacct"), pids: v1("pids") })
            }
            (None, Some(unified)) => Ok(Self::Unified(unified)),
            (None, None) => Err(Error::Cgroup { why: "no cgroup tree is mounted".to_owned() }),
        }
    }
}

/// In which cgroups a process is, and what is mounted here.
fn tree(pid: u32) -> Result<(String, String), Error> {
    let read = |file: String| {
        fs::read_to_string(&file).map_err(|why| Error::Cgroup { why: format!("{file}: {why}") })
    };
    Ok((read(format!("/proc/{pid}/cgroup"))?, read("/proc/self/mountinfo".to_owned())?))
}

fn host_has_swap() -> bool {
    // One line of headings when there is none.
    fs::read_to_string("/proc/swaps").map_or(true, |text| text.lines().count() > 1)
}

struct Folder {
    path: PathBuf,
    v1: bool,
}

/// The folder of `controller`'s hierarchy ("" is the unified one) in which the process is.
fn folder_of(controller: &str, memberships: &str, mounts: &str) -> Option<Folder> {
    let within = memberships.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })?;
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, mount) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let (kind, options) = (kind.next()?, kind.nth(1).unwrap_or_default());
        let v1 =
            kind == "cgroup" && !controller.is_empty() && options.split(',').any(|name| name == controller);
        let v2 = kind == "cgroup2" && controller.is_empty();
        if !(v1 || v2) {
            return None;
        }
        // In a container the tree's root may itself be a folder of the host's.
        let below = within.strip_prefix(root).unwrap_or(within).trim_start_matches('/');
        let path = Path::new(mount).join(below);
        path.is_dir().then_some(Folder { path, v1 })
    })
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn present(path: &Path) -> Limit {
    if path.exists() { Limit::Unlimited } else { Limit::Absent }
}

fn number(path: &Path) -> Limit {
    match read(path).as_deref() {
        None => Limit::Absent,
        Some("max") => Limit::Unlimited,
        Some(text) => match text.parse() {
            Ok(value) if value >= V1_UNLIMITED => Limit::Unlimited,
            Ok(value) => Limit::Value(value),
            Err(_) => Limit::Absent,
        },
    }
}

/// `150000 100000` → 1500; `max 100000` → nothing.
fn quota(text: &str) -> Option<u64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota * 1000 / period)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{InForce, Limit};
    use crate::value::{ByteSize, Caps, Cpus};

    const ASKED: Caps = Caps { memory: ByteSize::gib(1), cpus: Cpus { millis: 1500 }, pids: 512 };

    fn unified(files: &[(&str, &str)]) -> InForce {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        InForce::version_2(folder.path())
    }

    #[test]
    fn limits_as_asked_are_proven() {
        let in_force = unified(&[
            ("memory.max", "1073741824\n"),
            ("memory.swap.max", "0\n"),
            ("cpu.max", "150000 100000\n"),
            ("pids.max", "512\n"),
        ]);
        in_force.prove(&ASKED).unwrap();
    }

    #[test]
    fn a_cap_that_the_engine_dropped_is_named() {
        let in_force =
            unified(&[("memory.max", "max\n"), ("memory.swap.max", "max\n"), ("cpu.max", "max 100000\n")]);
        let error = in_force.prove(&ASKED).unwrap_err().to_string();
        for part in
            ["memory.max is unlimited", "cpu.max", "pids.max is not there", "memory.swap.max is unlimited"]
        {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn version_1_counts_memory_and_swap_together() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.limit_in_bytes", "1073741824\n");
        write("memory.memsw.limit_in_bytes", "1073741824\n");
        write("cpu.cfs_quota_us", "-1\n");
        write("cpu.cfs_period_us", "100000\n");
        write("pids.max", "max\n");
        let in_force = InForce::version_1(folder.path(), Some(folder.path()), Some(folder.path()));
        assert_eq!(in_force.swap_max, Limit::Value(0));
        assert_eq!((in_force.cpu_max, in_force.pids_max), (Limit::Unlimited, Limit::Unlimited));
    }
}
