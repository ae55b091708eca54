//! What the host has, and the caps that leave it headroom.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use crate::value::{ByteSize, Caps, Cpus};

/// The host's resources as far as caps need them.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    pub memory: ByteSize,
    pub processors: u32,
    pub pids: u32,
}

impl Host {
    /// One that holds every cap.
    pub const BOUNDLESS: Self =
        Self { memory: ByteSize(u64::MAX / 4), processors: u32::MAX / 4000, pids: u32::MAX / 4 };

    /// Read from /proc.
    pub fn read() -> std::io::Result<Self> {
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let kib = meminfo
            .lines()
            .find_map(|line| {
                line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
            })
            .ok_or_else(|| std::io::Error::other("/proc/meminfo has no MemTotal"))?;
        let pids = fs::read_to_string("/proc/sys/kernel/pid_max")?;
        let pids = pids
            .trim()
            .parse()
            .map_err(|_| std::io::Error::other("/proc/sys/kernel/pid_max has no number"))?;
        // Of the host, and not of our own share of it: a runner's service is under a cap itself.
        let processors =
            sysconf(SysconfVar::_NPROCESSORS_ONLN)?.and_then(|online| u32::try_from(online).ok());
        let processors =
            processors.ok_or_else(|| std::io::Error::other("the number of processors is not known"))?;
        Ok(Self { memory: ByteSize(kib << 10), processors, pids })
    }

    /// Caps that leave the host a fifth of its memory (at least 2 GiB, at most half of it), an eighth of its
    /// processors (at least half a one), and three quarters of its process numbers.
    pub fn default_caps(&self) -> Caps {
        let headroom = (self.memory.0 / 5).max(ByteSize::gib(2).0).min(self.memory.0 / 2);
        // Whole MiB read better in `up`'s output and in the cgroup.
        let memory = ByteSize((self.memory.0 - headroom) >> 20 << 20);
        let processors = self.processors.saturating_mul(1000);
        let millis = processors - (processors / 8).max(500).min(processors / 2);
        let pids = (self.pids / 4).clamp(256, 16384);
        Caps { memory, cpus: Cpus { millis: millis / 100 * 100 }, pids }
    }
}

#[cfg(test)]
mod tests {
    use super::Host;
    use crate::value::ByteSize;

    #[test]
    fn default_caps_leave_the_host_headroom() {
        let caps = |gib, processors, pids| {
            Host { memory: ByteSize::gib(gib), processors, pids }.default_caps().to_string()
        };
        assert_eq!(caps(64, 16, 4_194_304), "memory 51.1 GiB (no swap), 14 cpus, 16384 pids");
        assert_eq!(caps(8, 4, 32768), "memory 6 GiB (no swap), 3.5 cpus, 8192 pids");
        assert_eq!(caps(2, 1, 32768), "memory 1 GiB (no swap), 0.5 cpus, 8192 pids");
    }
}
