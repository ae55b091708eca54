//! Told to end while a job runs: the job's end is waited for, as long as the operator has patience.

use std::time::{Duration, Instant};

use testbed::{
    by_hand::{mint, push, remove, run, until_said},
    scene::Scene,
};

/// A runner whose operator has this much patience, at work on a job of some seconds.
fn at_work(name: &str, patience: &str, seconds: u32) -> (Scene, u64) {
    let scene = Scene::new(name).unwrap();
    let token = format!("GITHUB_RUNNER_TOKEN={}", mint(&scene));
    let patience = format!("VEGA_BUILDER_PATIENCE={patience}");
    run(&scene, &[&token, &patience, "VEGA_NIX_SANDBOX=false"]);
    scene.until_online(true).unwrap();
    let job = scene.github.enqueue(push(&scene, &format!("sleep {seconds}; echo FINISHED")));
    until_said(&scene, "Running job");
    (scene, job)
}

fn signal(scene: &Scene, name: &str) {
    scene.engine.said(&["kill", "--signal", name, &scene.name]).unwrap();
}

fn exit_code(scene: &Scene) -> String {
    scene.engine.said(&["wait", &scene.name]).unwrap()
}

#[test]
fn podman_a_drain_lets_the_job_finish_and_takes_no_other() {
    // No patience is needed: a drain has no end of its own.
    let (scene, job) = at_work("drain-job", "", 6);
    let next = scene.github.enqueue(push(&scene, "echo TOO LATE"));
    signal(&scene, "HUP");
    assert_eq!(exit_code(&scene), "0");
    let outcome = scene.github.wait(job, Duration::from_secs(5)).unwrap();
    assert!(outcome.result == "Succeeded" && outcome.log.contains("FINISHED"), "{outcome:?}");
    assert!(scene.github.wait(next, Duration::from_secs(1)).is_err(), "a drained runner took another job");
    remove(&scene);
}

#[test]
fn podman_a_stop_within_patience_lets_the_job_finish_and_one_beyond_it_cancels() {
    let (scene, job) = at_work("drain-patient", "2m", 6);
    signal(&scene, "TERM");
    assert_eq!(exit_code(&scene), "0");
    assert_eq!(scene.github.wait(job, Duration::from_secs(5)).unwrap().result, "Succeeded");
    remove(&scene);

    let (scene, job) = at_work("drain-short", "3s", 300);
    let began = Instant::now();
    signal(&scene, "TERM");
    assert_eq!(exit_code(&scene), "0");
    assert!((3..60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(scene.github.wait(job, Duration::from_secs(5)).unwrap().result, "Canceled");
    remove(&scene);
}

#[test]
fn podman_an_interrupt_waits_for_no_job_even_in_a_drain() {
    let (scene, job) = at_work("drain-now", "1h", 300);
    signal(&scene, "HUP");
    signal(&scene, "INT");
    assert_eq!(exit_code(&scene), "0");
    assert_eq!(scene.github.wait(job, Duration::from_secs(5)).unwrap().result, "Canceled");
    remove(&scene);
}

#[test]
fn podman_an_idle_runner_ends_at_once_whatever_its_patience() {
    let scene = Scene::new("drain-idle").unwrap();
    let token = format!("GITHUB_RUNNER_TOKEN={}", mint(&scene));
    run(&scene, &[&token, "VEGA_BUILDER_PATIENCE=1h", "VEGA_NIX_SANDBOX=false"]);
    scene.until_online(true).unwrap();
    let began = Instant::now();
    signal(&scene, "TERM");
    assert_eq!(exit_code(&scene), "0");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    remove(&scene);
}
