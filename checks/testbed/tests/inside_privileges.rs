//! What PID 1 may do, what a job may do, and that the daemon comes back.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::{
    by_hand::{field, processes, until_said},
    scene::Scene,
    scripts::sandboxed_build,
};

/// CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, SETPCAP, SYS_CHROOT, SETFCAP.
const NINE: [u32; 9] = [0, 1, 3, 5, 6, 7, 8, 18, 31];

#[test]
fn podman_pid_1_has_nine_capabilities_and_no_core_and_a_job_has_nothing() {
    let scene = Scene::new("privileges").unwrap();
    scene.up(&[]).unwrap();
    let pid = scene.engine.pid(&scene.name).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let nine = NINE.iter().fold(0, |mask, bit| mask | 1_u64 << bit);
    assert_eq!(field(&status, "CapBnd"), format!("{nine:016x}"));
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");

    let status = scene.job("cat /proc/self/status").unwrap();
    for (name, value) in [("NoNewPrivs", "1"), ("Seccomp", "2"), ("Uid", "1001\t1001\t1001\t1001")] {
        assert_eq!(field(&status, name), value, "{name}");
    }
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(&status, name), "0".repeat(16), "{name}");
    }
    scene.down().unwrap();
}

#[test]
fn podman_a_daemon_that_is_killed_is_started_again_and_builds_go_on() {
    let scene = Scene::new("daemon").unwrap();
    scene.up(&[]).unwrap();
    let daemon = processes(&scene).into_iter().find(|(_, status)| field(status, "Name") == "nix-daemon");
    kill(Pid::from_raw(i32::try_from(daemon.unwrap().0).unwrap()), Signal::SIGKILL).unwrap();
    until_said(&scene, "starting it again");
    let log = scene.job(&sandboxed_build("daemon")).unwrap();
    assert!(log.contains("sandbox: sandboxed"), "{log}");
    scene.down().unwrap();
}

#[test]
fn podman_a_job_of_another_repository_is_refused_by_what_root_wrote_down() {
    let scene = Scene::new("stranger").unwrap();
    scene.up(&[]).unwrap();
    let hook = "echo '{\"repository\": {\"full_name\": \"octo-org/other\"}}' >/tmp/event; \
                exec /etc/vega-builder/job-started.sh";
    let exec = [
        "exec",
        "--user=1001",
        "--env=GITHUB_EVENT_NAME=push",
        "--env=GITHUB_EVENT_PATH=/tmp/event",
        "--env=GITHUB_REPOSITORY=octo-org/other",
        &scene.name,
        "sh",
        "-c",
        hook,
    ];
    let output = scene.engine.run(&exec).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("takes the jobs of octo-org/stranger only"), "{said}");
    scene.job("true").unwrap();
    scene.down().unwrap();
}
