//! A listener or a daemon that is there, and does nothing; or is not there.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use simulator::fault::Fault;
use testbed::{
    by_hand::{field, listener, outcome, processes, push},
    scene::{Scene, succeeded},
    scripts::sandboxed_build,
};

use super::{MINUTE, SLACK, lines, until_said_within};

fn process(scene: &Scene, name: &str) -> Pid {
    let found = processes(scene);
    // Before it has a connection the daemon is one process, and afterwards the oldest one.
    let (pid, _) = found
        .iter()
        .filter(|(_, status)| field(status, "Name") == name && field(status, "State") != "Z (zombie)")
        .min_by_key(|(pid, _)| *pid)
        .unwrap_or_else(|| panic!("no {name}: {found:?}"));
    Pid::from_raw(i32::try_from(*pid).unwrap())
}

pub fn a_listener_that_hangs_is_replaced(scene: &Scene) {
    scene.up(&[]).unwrap();
    let before = listener(scene);
    scene.github.fault(Fault::status("POST", "/poll", 508, &[]));
    until_said_within(scene, "it hung, without a sign of life: it was killed", MINUTE + SLACK * 2);
    scene.until_online(true).unwrap();
    assert_ne!(listener(scene), before);
    assert_eq!(outcome(scene, push(scene, "true")).result, "Succeeded");
    assert_eq!(lines(scene, "it hung"), 1);
    scene.down().unwrap();
}

pub fn a_listener_that_somebody_stopped_goes_on(scene: &Scene) {
    scene.up(&[]).unwrap();
    let before = listener(scene).unwrap();
    kill(Pid::from_raw(i32::try_from(before).unwrap()), Signal::SIGSTOP).unwrap();
    until_said_within(scene, "the listener was stopped by a signal: it goes on", MINUTE);
    assert_eq!(outcome(scene, push(scene, "true")).result, "Succeeded");
    let events = succeeded(&scene.run(&["events", &scene.name]).unwrap()).unwrap();
    assert!(events.contains("stopped by a signal"), "{events}");
    scene.down().unwrap();
}

pub fn a_daemon_that_was_killed_is_started_again(scene: &Scene) {
    scene.up(&[]).unwrap();
    kill(process(scene, "nix-daemon"), Signal::SIGKILL).unwrap();
    until_said_within(scene, "nix-daemon ended (signal: 9 (SIGKILL)): starting it again", MINUTE);
    let log = scene.job(&sandboxed_build("daemon-killed")).unwrap();
    assert!(log.contains("sandbox: sandboxed"), "{log}");
    // Ever more slowly, when it does not last, and told once.
    for _ in 0..3 {
        let old = process(scene, "nix-daemon");
        kill(old, Signal::SIGKILL).unwrap();
        scene.github.until(MINUTE, || is_another(scene, old)).unwrap();
    }
    scene.job(&sandboxed_build("daemon-killed-again")).unwrap();
    assert_eq!(lines(scene, "nix-daemon ended"), 1);
    scene.down().unwrap();
}

/// Whether there is a daemon again.
fn is_another(scene: &Scene, old: Pid) -> bool {
    let is_it =
        |status: &String| field(status, "Name") == "nix-daemon" && !field(status, "State").starts_with('Z');
    processes(scene).iter().any(|(pid, status)| i64::from(*pid) != i64::from(old.as_raw()) && is_it(status))
}

pub fn a_daemon_that_answers_no_more_is_replaced(scene: &Scene) {
    scene.up(&[]).unwrap();
    kill(process(scene, "nix-daemon"), Signal::SIGSTOP).unwrap();
    until_said_within(scene, "nix-daemon does not answer: starting it again", MINUTE + SLACK);
    let log = scene.job(&sandboxed_build("daemon-stopped")).unwrap();
    assert!(log.contains("sandbox: sandboxed"), "{log}");
    assert_eq!(lines(scene, "nix-daemon does not answer"), 1);
    assert_eq!(lines(scene, "accepted connection"), 0, "asking leaves no lines");
    scene.down().unwrap();
}
