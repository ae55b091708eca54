//! This host: what a runner on it rests on.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use nix::sys::{statvfs::statvfs, utsname::uname};

use super::finding::Finding;
use crate::{
    config::Host,
    engine::{self, Cli, SeccompProfile},
    systemd,
    value::ByteSize,
};

/// Everything that can be known without an installed runner.
/// `needs_engine`: whether a runner here has a container, or is to have one.
pub fn host(needs_engine: bool) -> Vec<Finding> {
    let mut findings = vec![kernel(), cgroups(), namespaces(), capacity()];
    match engine::detect(None) {
        Ok(cli) => findings.extend([engine_version(&cli), disk(&cli)]),
        Err(why) if needs_engine => findings.push(Finding::failure(
            "engine",
            why,
            "`apt-get install podman`, or what brings it elsewhere",
        )),
        Err(_) => {}
    }
    match SeccompProfile::from_host() {
        Ok(_) => findings.push(Finding::fine("seccomp", "the engine's default profile is there")),
        Err(why) if needs_engine => findings.push(Finding::failure(
            "seccomp",
            why,
            "the engine's package anew, which has the profile",
        )),
        Err(_) => {}
    }
    findings.push(if systemd::is_ours_to_arrange() {
        Finding::fine("boot", "systemd runs here, and its units are ours to write")
    } else {
        Finding::warning("boot", "nothing would start a runner after a reboot", systemd::why_not())
    });
    findings
}

/// The first kernel that lets an unprivileged user namespace mount an overlay.
const KERNEL: (u32, u32) = (5, 11);

fn kernel() -> Finding {
    let release = uname().map(|it| it.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL {
        return Finding::fine("kernel", format!("Linux {release}"));
    }
    let (major, minor) = KERNEL;
    Finding::warning(
        "kernel",
        format!("Linux {release} is older than {major}.{minor}, from which on user namespaces have overlays"),
        "a newer kernel, e.g. of the distribution's backports",
    )
}

fn cgroups() -> Finding {
    let Ok(controllers) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") else {
        return Finding::warning(
            "cgroups",
            "version 1: caps hold, and a job that was killed at its memory cap is not told of",
            "boot with `systemd.unified_cgroup_hierarchy=1`",
        );
    };
    let lacking: Vec<&str> = ["memory", "cpu", "pids"]
        .into_iter()
        .filter(|name| !controllers.split_whitespace().any(|one| one == *name))
        .collect();
    if lacking.is_empty() {
        return Finding::fine("cgroups", "version 2, with memory, cpu and pids");
    }
    Finding::wrong(
        "cgroups",
        format!("the controllers {} are not enabled: no cap of them would hold", lacking.join(", ")),
        if lacking.contains(&"memory") {
            "boot with `cgroup_enable=memory`"
        } else {
            "as root, or have systemd delegate them (`Delegate=yes` for user@.service)"
        },
    )
}

fn namespaces() -> Finding {
    let read = |file: &str| fs::read_to_string(file).ok().map(|text| text.trim().to_owned());
    if read("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return Finding::wrong(
            "namespaces",
            "user namespaces are switched off: neither the container's own users nor Nix's sandbox would work",
            "`sysctl user.max_user_namespaces=15000`",
        );
    }
    let restricted = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    if read(restricted).as_deref() == Some("1") {
        return Finding::fine(
            "namespaces",
            "there are user namespaces; AppArmor restricts them, and is lifted for the container where Nix's sandbox needs that",
        );
    }
    Finding::fine("namespaces", "there are user namespaces")
}

/// Where clouds tell a machine its own credentials; whoever is on it may ask, so that jobs may as well.
const METADATA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
const NEAR: Duration = Duration::from_millis(300);

/// Whether jobs can ask there; nothing where nobody answers. `is_denied`: there is a wall between.
pub fn metadata(is_denied: bool) -> Option<Finding> {
    TcpStream::connect_timeout(&METADATA, NEAR).ok()?;
    if is_denied {
        return Some(Finding::fine(
            "metadata",
            format!("{} answers this machine, and is out of jobs' reach", METADATA.ip()),
        ));
    }
    Some(Finding::warning(
        "metadata",
        format!(
            "{} answers: jobs can ask this machine's cloud for the machine's own credentials",
            METADATA.ip()
        ),
        "a machine without credentials of its own; or a firewall rule against that address for what is forwarded; \
         on AWS `aws ec2 modify-instance-metadata-options --http-tokens required --http-put-response-hop-limit 1`",
    ))
}

/// Less than this leaves a build little.
const LEAST: ByteSize = ByteSize::gib(4);

fn capacity() -> Finding {
    let host = match Host::read() {
        Ok(host) => host,
        Err(why) => {
            return Finding::failure(
                "capacity",
                format!("/proc cannot be read: {why}"),
                "`mount -t proc proc /proc`",
            );
        }
    };
    let all = format!("{} of memory, {} processors", host.memory, host.processors);
    if host.memory < LEAST {
        let next = format!("heavy builds want more than {LEAST}: a larger machine");
        return Finding::warning("capacity", all, next);
    }
    Finding::fine("capacity", format!("{all}; unless told, a runner gets {}", host.default_caps()))
}

fn engine_version(cli: &Cli) -> Finding {
    let name = cli.program();
    match cli.major_version() {
        Ok(major) if name == "podman" && major < 5 => Finding::warning(
            "engine",
            format!("podman {major}: `install` writes a plain service, no Quadlet"),
            "podman 5, where the distribution has it",
        ),
        Ok(major) => Finding::fine("engine", format!("{name} {major}")),
        Err(why) => Finding::failure("engine", why, format!("`{name} version`")),
    }
}

/// Below this no image fits, and below the other soon no build.
const FULL: ByteSize = ByteSize::gib(3);
const TIGHT: ByteSize = ByteSize::gib(20);

fn disk(cli: &Cli) -> Finding {
    let place = match cli.volume_will_be_at("store") {
        Ok(place) => place,
        Err(why) => return Finding::failure("disk", why, format!("`{} info`", cli.program())),
    };
    let there = place.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let found = match statvfs(there) {
        Ok(found) => found,
        Err(why) => {
            return Finding::failure(
                "disk",
                format!("{}: {why}", there.display()),
                format!("`df {}`", there.display()),
            );
        }
    };
    let free = ByteSize(found.blocks_available() * found.fragment_size());
    let (all, left) = (found.files(), found.files_available());
    let said = format!("{free} free at {}", there.display());
    if free < FULL {
        return Finding::wrong("disk", said, format!("`{} system prune`, or a larger disk", cli.program()));
    }
    // A file system that counts none has no bound.
    if all > 0 && left < all / 20 {
        let next = "fewer and larger files: a file system with more inodes";
        return Finding::warning("disk", format!("{said}; {left} of {all} inodes are left"), next);
    }
    if free < TIGHT {
        return Finding::warning("disk", said, format!("heavy builds want more than {TIGHT}: a larger disk"));
    }
    Finding::fine("disk", said)
}
