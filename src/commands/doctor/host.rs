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
    let read = |file: &str| fs::read_to_string(file).ok();
    let release = uname().map(|it| it.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut findings = vec![
        kernel(&release),
        cgroups(read("/sys/fs/cgroup/cgroup.controllers").as_deref()),
        namespaces(
            read("/proc/sys/user/max_user_namespaces").as_deref(),
            read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref(),
        ),
        match Host::read() {
            Ok(host) => capacity(&host),
            Err(why) => Finding::failure(
                "capacity",
                format!("/proc cannot be read: {why}"),
                "`mount -t proc proc /proc`",
            ),
        },
    ];
    match engine::detect(None) {
        Ok(cli) => findings.extend([engine_version(cli.program(), cli.major_version()), disk_of(&cli)]),
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
        Finding::warning(
            "boot",
            "nothing would start a runner after a reboot",
            systemd::why_not("`vega-builder up` again"),
        )
    });
    findings
}

/// The first kernel that lets an unprivileged user namespace mount an overlay.
const KERNEL: (u32, u32) = (5, 11);

fn kernel(release: &str) -> Finding {
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

/// `controllers`: those that version 2 has enabled.
fn cgroups(controllers: Option<&str>) -> Finding {
    let Some(controllers) = controllers else {
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

/// `most`, `restricted`: what the kernel's files of that say, where it has them.
fn namespaces(most: Option<&str>, restricted: Option<&str>) -> Finding {
    if most.is_some_and(|most| most.trim() == "0") {
        return Finding::wrong(
            "namespaces",
            "user namespaces are switched off: neither the container's own users nor Nix's sandbox would work",
            "`sysctl user.max_user_namespaces=15000`",
        );
    }
    if restricted.is_some_and(|restricted| restricted.trim() == "1") {
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
         on AWS `aws ec2 modify-instance-metadata-options --instance-id ID --http-tokens required --http-put-response-hop-limit 1`",
    ))
}

/// Less than this leaves a build little.
const LEAST: ByteSize = ByteSize::gib(4);

fn capacity(host: &Host) -> Finding {
    let all = format!("{} of memory, {} processors", host.memory, host.processors);
    if host.memory < LEAST {
        let next = format!("heavy builds want more than {LEAST}: a larger machine");
        return Finding::warning("capacity", all, next);
    }
    Finding::fine("capacity", format!("{all}; unless told, a runner gets {}", host.default_caps()))
}

fn engine_version(name: &str, version: Result<u32, engine::Error>) -> Finding {
    match version {
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

fn disk_of(cli: &Cli) -> Finding {
    match cli.volume_will_be_at("store") {
        Ok(place) => disk(&place, &format!("`{} system prune`", cli.program())),
        Err(why) => Finding::failure("disk", why, format!("`{} info`", cli.program())),
    }
}

/// What is free where a runner writes; `prune` is what makes room there.
pub fn disk(place: &Path, prune: &str) -> Finding {
    let there = place.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    match statvfs(there) {
        Ok(found) => {
            let free = ByteSize(found.blocks_available() * found.fragment_size());
            room(there, free, (found.files(), found.files_available()), prune)
        }
        Err(why) => Finding::failure(
            "disk",
            format!("{}: {why}", there.display()),
            format!("`df {}`", there.display()),
        ),
    }
}

/// `inodes`: all of them, and those that are free; a file system that counts none has no bound.
fn room(place: &Path, free: ByteSize, inodes: (u64, u64), prune: &str) -> Finding {
    let (said, (all, left)) = (format!("{free} free at {}", place.display()), inodes);
    if free < FULL {
        return Finding::wrong("disk", said, format!("{prune}, or a larger disk"));
    }
    if all > 0 && left < all / 20 {
        let next = "fewer and larger files: a file system with more inodes";
        return Finding::warning("disk", format!("{said}; {left} of {all} inodes are left"), next);
    }
    if free < TIGHT {
        let next = format!("heavy builds want more than {TIGHT}: {prune}, or a larger disk");
        return Finding::warning("disk", said, next);
    }
    Finding::fine("disk", said)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Finding, Host, capacity, cgroups, engine_version, kernel, namespaces, room};
    use crate::{commands::doctor::Level, engine, value::ByteSize};

    /// Whatever is not fine has something to type.
    fn is(finding: &Finding, level: Level, words: &[&str]) {
        let said = format!("{} {}", finding.what, finding.next.clone().unwrap_or_default());
        assert_eq!(finding.level, level, "{said}");
        assert_eq!(finding.next.is_some(), level != Level::Fine, "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }

    #[test]
    fn an_old_kernel_is_named_with_the_one_that_would_do() {
        is(&kernel("6.12.57+deb13-amd64"), Level::Fine, &["6.12.57"]);
        is(&kernel("5.11"), Level::Fine, &[]);
        is(&kernel("5.10.0-rc1"), Level::Warning, &["5.11", "a newer kernel"]);
        is(&kernel(""), Level::Warning, &[]);
    }

    #[test]
    fn controllers_that_are_missing_are_named() {
        is(&cgroups(None), Level::Warning, &["version 1", "systemd.unified_cgroup_hierarchy=1"]);
        is(&cgroups(Some("cpuset cpu io memory pids\n")), Level::Fine, &["version 2"]);
        is(&cgroups(Some("cpu pids\n")), Level::Wrong, &["memory", "cgroup_enable=memory"]);
        is(&cgroups(Some("memory pids\n")), Level::Wrong, &["cpu", "Delegate=yes"]);
    }

    #[test]
    fn user_namespaces_that_are_switched_off_are_wrong() {
        is(&namespaces(Some("15000\n"), None), Level::Fine, &[]);
        is(&namespaces(None, Some("1\n")), Level::Fine, &["AppArmor"]);
        is(&namespaces(Some("0\n"), None), Level::Wrong, &["sysctl user.max_user_namespaces"]);
    }

    #[test]
    fn a_small_machine_and_an_old_podman_are_warned_of() {
        let host = |memory| Host { memory: ByteSize::gib(memory), ..Host::BOUNDLESS };
        is(&capacity(&host(3)), Level::Warning, &["a larger machine"]);
        is(&capacity(&host(64)), Level::Fine, &["unless told"]);
        is(&engine_version("podman", Ok(4)), Level::Warning, &["no Quadlet", "podman 5"]);
        is(&engine_version("docker", Ok(28)), Level::Fine, &["docker 28"]);
        let why = engine::Error::Failed { command: "podman version".to_owned(), why: "no".to_owned() };
        is(&engine_version("podman", Err(why)), Level::Wrong, &["`podman version`"]);
    }

    #[test]
    fn a_disk_that_is_full_or_tight_or_out_of_inodes_says_what_makes_room() {
        let of = |free, inodes| room(Path::new("/nix"), ByteSize::gib(free), inodes, "`prune`");
        is(&of(2, (0, 0)), Level::Wrong, &["2 GiB free at /nix", "`prune`, or a larger disk"]);
        is(&of(10, (100, 100)), Level::Warning, &["20 GiB"]);
        is(&of(100, (100, 4)), Level::Warning, &["4 of 100 inodes"]);
        is(&of(100, (0, 0)), Level::Fine, &[]);
    }
}
