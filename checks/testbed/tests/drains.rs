//! No new job, the end of the running one and of its uploads, and then a stop; and the way back.

use std::{
    process::{Child, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use simulator::{cache::Server, fault::Fault, github::Job};
use testbed::{
    caching::{Bench, narinfo, paths},
    scene::{Scene, succeeded},
    scripts::two_builds,
};

const SOON: Duration = Duration::from_secs(30);
const NEVER: Duration = Duration::from_secs(2);

fn enqueue(scene: &Scene, script: &str) -> u64 {
    scene.github.enqueue(Job::push(&scene.repository, "job", &["self-hosted", "vega"], script))
}

/// A job of some seconds, once it runs.
fn at_work(scene: &Scene, script: &str) -> u64 {
    let job = enqueue(scene, script);
    scene.github.until(SOON, || scene.github.log_so_far(job).contains("AT WORK")).unwrap();
    job
}

/// `drain`, in the background.
fn drain(scene: &Scene, more: &[&str]) -> Child {
    let arguments = [&["drain", scene.name.as_str(), "--output", "json"], more].concat();
    scene.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn state(scene: &Scene) -> Value {
    let output = scene.run(&["status", &scene.name, "--output", "json"]).unwrap();
    serde_json::from_slice::<Value>(&output.stdout).unwrap()[0].clone()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn podman_a_job_that_begins_in_the_very_moment_of_a_down_is_not_cancelled() {
    let scene = Scene::new("down-moment").unwrap();
    scene.up(&[]).unwrap();
    let down = scene.command(&["down", &scene.name]).stderr(Stdio::piped()).spawn().unwrap();
    // It has begun, and has not stopped anything yet.
    let begun = std::path::Path::new("/run/vega-builder").join(&scene.name).join("drain");
    scene.github.until(SOON, || begun.exists()).unwrap();
    let job = enqueue(&scene, "echo AT WORK; sleep 6; echo FINISHED");
    let down = down.wait_with_output().unwrap();
    if down.status.success() {
        // It stays queued.
        assert!(scene.github.outcome(job).is_none() && scene.github.log_so_far(job).is_empty());
        scene.up(&[]).unwrap();
    } else {
        assert!(said(&down).contains("is at work (running job"), "{}", said(&down));
    }
    let done = scene.github.wait(job, SOON).unwrap();
    assert!(done.result == "Succeeded" && done.log.contains("FINISHED"), "{done:?}");
    // Refused for a job, it leaves a runner that takes jobs.
    let job = at_work(&scene, "echo AT WORK; sleep 6; echo FINISHED");
    let refused = scene.run(&["down", &scene.name]).unwrap();
    assert_eq!(refused.status.code(), Some(9), "{refused:?}");
    assert_eq!(scene.github.wait(job, SOON).unwrap().result, "Succeeded");
    scene.job("echo NEXT").unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_job_that_begins_in_the_very_moment_of_an_up_with_other_settings_is_not_cancelled() {
    let scene = Scene::new("up-moment").unwrap();
    scene.up(&[]).unwrap();
    let up = ["up", &scene.repository, "--pids", "300", "--wait", "60"];
    let up = scene.command(&up).stderr(Stdio::piped()).spawn().unwrap();
    let begun = std::path::Path::new("/run/vega-builder").join(&scene.name).join("drain");
    scene.github.until(SOON, || begun.exists()).unwrap();
    let job = enqueue(&scene, "echo AT WORK; sleep 6; echo FINISHED");
    let up = up.wait_with_output().unwrap();
    if !up.status.success() {
        assert!(said(&up).contains("is at work (running job"), "{}", said(&up));
    }
    let done = scene.github.wait(job, SOON).unwrap();
    assert!(done.result == "Succeeded" && done.log.contains("FINISHED"), "{done:?}\n{up:?}");
    scene.job("echo NEXT").unwrap();
    scene.down().unwrap();
}

/// To podman its container is neither running nor stopped then.
#[test]
fn podman_an_up_beside_a_stop_that_waits_for_a_job_cancels_nothing() {
    let scene = Scene::new("stopping-at-work").unwrap();
    scene.up(&[]).unwrap();
    let job = at_work(&scene, "echo AT WORK; sleep 14; echo FINISHED");
    let mut stop = std::process::Command::new("podman");
    let mut stop = stop.args(["stop", "--time", "60", &scene.name]).stdout(Stdio::null()).spawn().unwrap();
    let status = || scene.engine.said(&["inspect", "--format", "{{.State.Status}}", &scene.name]).unwrap();
    scene.github.until(SOON, || status().trim() == "stopping").unwrap();
    let up = scene.run(&["up", &scene.repository, "--pids", "300", "--wait", "2"]).unwrap();
    assert!(!up.status.success() && said(&up).contains("is at work (running job"), "{up:?}");
    let done = scene.github.wait(job, SOON).unwrap();
    assert!(done.result == "Succeeded" && done.log.contains("FINISHED"), "{done:?}\n{up:?}");
    stop.wait().unwrap();
    scene.up(&[]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_drain_waits_for_the_job_and_for_its_uploads_and_a_resume_needs_no_token() {
    let bench = Bench::new("drained");
    let scene = &bench.scene;
    let cache = Server::start().unwrap();
    bench.up(cache.url(), "no");
    cache.faults.add(Fault::status("PUT", "/", 403, &[]).times(1000));
    let job = at_work(scene, &format!("{}\necho AT WORK; sleep 6; echo FINISHED", two_builds("drained")));
    let mut draining = drain(scene, &[]);
    scene.github.until(SOON, || !state(scene)["drained"].is_null()).unwrap();
    let next = enqueue(scene, "echo NEXT");
    let outcome = scene.github.wait(job, SOON).unwrap();
    assert!(outcome.result == "Succeeded" && outcome.log.contains("FINISHED"), "{outcome:?}");
    scene.github.until(SOON, || state(scene)["runner"]["phase"] == "drained").unwrap();
    // The cache takes nothing: so it does not stop.
    assert!(scene.github.wait(next, NEVER).is_err(), "a drained runner took another job");
    assert!(draining.try_wait().unwrap().is_none(), "it did not wait for the uploads");
    cache.faults.clear();
    succeeded(&draining.wait_with_output().unwrap()).unwrap();
    for path in paths(&outcome.log) {
        assert!(cache.file(&narinfo(&path)).is_some(), "{path}: {:?}", cache.names());
    }
    for container in [scene.name.clone(), format!("{}.pusher", scene.name)] {
        let status = scene.engine.said(&["inspect", "--format", "{{.State.Status}}", &container]).unwrap();
        assert_eq!(status.trim(), "exited", "{container}");
    }
    // After a power cut this boot has no word of it, and an engine's daemon may start what was drained.
    let word = std::path::Path::new("/run/vega-builder").join(&scene.name).join("drain");
    std::fs::remove_file(&word).unwrap();
    // As a boot would, and a person who does not know.
    for (verb, code) in [("can-start", 1), ("prepare", 8), ("register", 8), ("status", 8)] {
        let output = scene.run(&[verb, &scene.name]).unwrap();
        assert_eq!(output.status.code(), Some(code), "{verb}: {output:?}");
        let both = said(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(both.contains(&format!("`vega-builder resume {}`", scene.name)), "{verb}: {both}");
    }
    assert!(word.exists());
    let minted = scene.github.minted();
    succeeded(&scene.run(&["resume", &scene.name]).unwrap()).unwrap();
    assert_eq!(scene.github.wait(next, SOON).unwrap().result, "Succeeded");
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (minted, 1));
    assert_eq!(state(scene)["uploads"]["runs"], true);
    scene.down().unwrap();
}

#[test]
fn podman_a_drain_that_is_broken_off_goes_on_and_a_resume_calls_it_off_without_a_restart() {
    let scene = Scene::new("undrained").unwrap();
    scene.up(&[]).unwrap();
    let id = state(&scene)["container"]["id"].clone();
    // What a job could do about it, and does not get done.
    let hostile = r"echo AT WORK; sleep 5
rm -f /run/vega-builder/handover/drain 2>/dev/null || true
find /run/vega-builder/handover -mindepth 1 -delete 2>/dev/null && echo THROUGH
echo FINISHED";
    let job = at_work(&scene, hostile);
    let late = drain(&scene, &["--wait", "1"]).wait_with_output().unwrap();
    assert_eq!(late.status.code(), Some(12), "{late:?}");
    assert!(said(&late).contains("goes on draining"), "{late:?}");
    let draining = drain(&scene, &[]);
    std::thread::sleep(Duration::from_secs(1));
    kill(Pid::from_raw(draining.id().cast_signed()), Signal::SIGINT).unwrap();
    let broken_off = draining.wait_with_output().unwrap();
    assert_eq!(broken_off.status.code(), Some(12), "{broken_off:?}");
    let next = enqueue(&scene, "echo NEXT");
    let outcome = scene.github.wait(job, SOON).unwrap();
    assert!(outcome.log.contains("FINISHED") && !outcome.log.contains("THROUGH"), "{outcome:?}");
    assert!(scene.github.wait(next, NEVER).is_err(), "a hostile job lifted the drain");
    assert!(!scene.github.is_online(&scene.name), "who takes no jobs says so at GitHub");
    succeeded(&scene.run(&["resume", &scene.name]).unwrap()).unwrap();
    assert_eq!(scene.github.wait(next, SOON).unwrap().result, "Succeeded");
    assert_eq!(state(&scene)["container"]["id"], id);
    // While the job runs, it is as if nothing had been said.
    let job = at_work(&scene, "echo AT WORK; sleep 4");
    assert_eq!(drain(&scene, &["--wait", "1"]).wait().unwrap().code(), Some(12));
    succeeded(&scene.run(&["resume", &scene.name]).unwrap()).unwrap();
    let next = enqueue(&scene, "echo NEXT");
    assert_eq!(scene.github.wait(job, SOON).unwrap().result, "Succeeded");
    assert_eq!(scene.github.wait(next, SOON).unwrap().result, "Succeeded");
    scene.down().unwrap();
}

#[test]
fn podman_a_drain_at_once_cancels_and_up_takes_it_back() {
    let scene = Scene::new("drained-now").unwrap();
    scene.up(&[]).unwrap();
    let job = at_work(&scene, "echo AT WORK; sleep 300");
    succeeded(&drain(&scene, &["--now"]).wait_with_output().unwrap()).unwrap();
    assert_eq!(scene.github.wait(job, SOON).unwrap().result, "Canceled");
    // Once more, there is nothing to wait for.
    succeeded(&drain(&scene, &[]).wait_with_output().unwrap()).unwrap();
    let said = scene.up(&[]).unwrap();
    assert!(said.contains("it was drained") && state(&scene)["drained"].is_null(), "{said}");
    scene.job("echo BACK").unwrap();
    scene.down().unwrap();
}
