//! What the kernel holds a process to, read without the product's help: the judge of its own reading.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::{Value, json};

/// The four limits of the cgroup that a container's first process is in, in the files' own units (`cpu_max` in
/// thousandths of a processor); a limit that is not there is `null`.
pub fn limits(pid: u32) -> anyhow::Result<Value> {
    if let Some(folder) = unified(pid)? {
        let (quota, period) = split(&climb(&folder, "cpu.max"));
        return Ok(json!({
            "memory_max": number(&climb(&folder, "memory.max")),
            "swap_max": number(&climb(&folder, "memory.swap.max")),
            "cpu_max": quota.zip(period).map(|(quota, period)| quota * 1000 / period),
            "pids_max": number(&climb(&folder, "pids.max")),
        }));
    }
    let read = |controller: &str, file: &str| -> anyhow::Result<Option<u64>> {
        Ok(number(&fs::read_to_string(version_1(pid, controller)?.join(file))?))
    };
    let memory = read("memory", "memory.limit_in_bytes")?;
    let both = read("memory", "memory.memsw.limit_in_bytes")?;
    let (quota, period) = (read("cpu", "cpu.cfs_quota_us")?, read("cpu", "cpu.cfs_period_us")?);
    Ok(json!({
        "memory_max": memory,
        "swap_max": both.zip(memory).map(|(both, memory)| both - memory),
        "cpu_max": quota.zip(period).map(|(quota, period)| quota * 1000 / period),
        "pids_max": read("pids", "pids.max")?,
    }))
}

/// PID 1 may have a group of its own below the container's: the first limit on the way up.
fn climb(folder: &Path, file: &str) -> String {
    let limited = |folder: &Path| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        (!text.starts_with("max")).then_some(text)
    };
    folder.ancestors().take(2).find_map(limited).unwrap_or_default()
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn split(text: &str) -> (Option<u64>, Option<u64>) {
    let mut parts = text.split_whitespace().map(|part| part.parse().ok());
    (parts.next().flatten(), parts.next().flatten())
}

/// What a container has taken of the processors, in seconds.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    #[expect(clippy::cast_precision_loss, reason = "seconds need no more")]
    let seconds = |count: u64, unit: f64| count as f64 / unit;
    if let Some(folder) = unified(pid)? {
        let text = fs::read_to_string(folder.join("cpu.stat"))?;
        let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).context("usage_usec")?;
        return Ok(seconds(usage.trim().parse()?, 1e6));
    }
    let text = fs::read_to_string(version_1(pid, "cpuacct")?.join("cpuacct.usage"))?;
    Ok(seconds(text.trim().parse()?, 1e9))
}

/// What it takes of the memory, files that could be dropped left out.
pub fn memory_bytes(pid: u32) -> anyhow::Result<f64> {
    let (folder, name) = match unified(pid)? {
        Some(folder) => (folder, "anon "),
        None => (version_1(pid, "memory")?, "total_rss "),
    };
    let text = fs::read_to_string(folder.join("memory.stat"))?;
    Ok(text.lines().find_map(|line| line.strip_prefix(name)).context("memory.stat")?.trim().parse()?)
}

fn unified(pid: u32) -> anyhow::Result<Option<PathBuf>> {
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Ok(None);
    }
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = groups.trim().lines().find_map(|line| line.strip_prefix("0::")).context("no cgroup v2")?;
    Ok(Some(Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))))
}

fn version_1(pid: u32, controller: &str) -> anyhow::Result<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let line = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    });
    let path = line.with_context(|| format!("no cgroup of {controller}"))?;
    Ok(Path::new("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/')))
}
