//! The addresses at which a cloud tells its machines their credentials: out of reach for a runner and its jobs, by a filter
//! of the kernel's on their cgroup, whatever network they have.

use std::{collections::BTreeSet, fs};

use super::subject::Subject;
use crate::{
    systemd::{self, is_ours_to_arrange, set_properties},
    value::RunnerName,
};

/// AWS's (machines, tasks, pods), Azure's, Google's and Oracle's are among the first three; then Alibaba's, and AWS's again.
const ADDRESSES: [&str; 6] = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "fd00:ec2::254",
    "fd00:ec2::23",
];
/// Whom this host asks for names. On Google's machines that is the very address.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Of a declared runner: of its slice, whose filter outlives what is started in it.
pub fn deny(runner: &RunnerName) {
    deny_unit(&systemd::slice_name(runner), &[]);
}

/// Of a container that runs: of its runner's slice too, or else of whatever it is in, while that lasts.
pub fn deny_running(runner: &RunnerName, pid: u32) {
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let Some(unit) = unit_of(&group) else { return };
    if is_in(&group, &systemd::slice_name(runner)) {
        hold_swap(pid);
        deny(runner);
    } else {
        deny_unit(unit, &[NO_SWAP]);
    }
}

/// A container of ours has no swap, which runc writes to its cgroup and does not tell systemd: that takes it back as soon as
/// it has something to write there, of the slice around it too.
pub fn hold_swap(pid: u32) {
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if let Some(unit) = unit_of(&group).filter(|_| is_ours_to_arrange()) {
        let _ = set_properties(unit, &[NO_SWAP]);
    }
}

const NO_SWAP: &str = "MemorySwapMax=0";

/// A wall more: where there is no systemd, or none that can, `doctor` tells of the address.
fn deny_unit(unit: &str, besides: &[&str]) {
    if !is_ours_to_arrange() {
        return;
    }
    let said = RESOLVERS.iter().map(|file| fs::read_to_string(file).unwrap_or_default());
    let asked = name_servers(&said.collect::<Vec<_>>().concat());
    let denied: Vec<&str> = ADDRESSES.into_iter().filter(|address| !asked.contains(*address)).collect();
    let denied = format!("IPAddressDeny={}", denied.join(" "));
    // Nothing of what an earlier start has said: a list is added to.
    let properties = [&["IPAddressDeny=", &denied], besides].concat();
    let _ = set_properties(unit, &properties);
}

/// Whether that wall stands, as far as systemd was told.
pub fn is_denied(subject: &Subject) -> bool {
    let slice = systemd::slice_name(&subject.installation.name);
    let pid = subject.running().ok().flatten().map_or(0, |running| running.pid);
    // Of one that does not run nothing is known: its container may not come into the slice.
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let unit = if is_in(&group, &slice) { &slice } else { unit_of(&group).unwrap_or_default() };
    !unit.is_empty() && systemd::property(unit, "IPAddressDeny").contains(ADDRESSES[0])
}

fn name_servers(text: &str) -> BTreeSet<String> {
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.filter_map(|server| server.split_whitespace().next().map(str::to_owned)).collect()
}

fn is_in(group: &str, slice: &str) -> bool {
    group.lines().any(|line| line.starts_with("0::") && line.split('/').any(|part| part == slice))
}

/// The innermost unit, of cgroup version 2: filters are of no other.
fn unit_of(group: &str) -> Option<&str> {
    let path = group.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.split('/').rev().find(|part| {
        let kind = part.rsplit_once('.').map(|(_, kind)| kind);
        matches!(kind, Some("scope" | "service"))
    })
}

#[cfg(test)]
mod tests {
    use super::{name_servers, unit_of};

    #[test]
    fn the_unit_of_a_container_is_its_scope() {
        let podman = "0::/machine.slice/libpod-0123.scope/container\n";
        assert_eq!(unit_of(podman), Some("libpod-0123.scope"));
        assert_eq!(unit_of("0::/system.slice/docker-0123.scope\n"), Some("docker-0123.scope"));
        assert_eq!(unit_of("5:memory:/x.scope\n0::/\n"), None);
    }

    #[test]
    fn who_is_asked_for_names_is_not_walled_off() {
        let asked =
            name_servers("# x\nnameserver 169.254.169.254 # ours\n nameserver\t::1\nsearch c.internal\n");
        assert!(asked.contains("169.254.169.254") && asked.contains("::1") && asked.len() == 2);
    }
}
