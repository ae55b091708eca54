//! Our image run by hand, with its environment contract alone.

use std::{fs, time::Duration};

use anyhow::Context as _;
use simulator::github::{Job, Outcome};

use crate::scene::{IMAGE, LOGIN, Scene};

/// `podman run` of the image with these variables beside the least that it needs; no handover folder.
pub fn run(scene: &Scene, variables: &[&str]) {
    run_with(scene, variables, &[]);
}

/// The same with options of podman's own.
pub fn run_with(scene: &Scene, variables: &[&str], options: &[&str]) {
    let (owner, repository) = scene.repository.split_once('/').unwrap();
    let least = [
        format!("GITHUB_OWNER={owner}"),
        format!("GITHUB_REPOSITORY={repository}"),
        format!("GITHUB_RUNNER_NAME={}", scene.name),
        format!("VEGA_GITHUB_URL={}", scene.github.url()),
    ];
    let all: Vec<&str> = least.iter().map(String::as_str).chain(variables.iter().copied()).collect();
    run_alone(scene, &all, options);
}

/// With these variables and no others.
pub fn run_alone(scene: &Scene, variables: &[&str], options: &[&str]) {
    let mut arguments: Vec<String> =
        ["run", "--detach", "--network=host", "--memory=1g", "--pids-limit=256"].map(str::to_owned).to_vec();
    arguments.push("--tls-verify=false".to_owned());
    arguments.push(format!("--name={}", scene.name));
    arguments.extend(options.iter().map(|option| (*option).to_owned()));
    arguments.extend(variables.iter().map(|variable| format!("--env={variable}")));
    arguments.push(format!("{}/{IMAGE}@{}", scene.registry.address, scene.digest));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    scene.engine.said(&arguments).unwrap();
}

/// Remove the container; podman may have to be asked again while it tidies up.
pub fn remove(scene: &Scene) {
    let removed = || {
        let output = scene.engine.run(&["rm", "--force", "--time", "5", "--volumes", &scene.name]);
        output.is_ok_and(|output| output.status.success()) || !scene.engine.exists(&scene.name)
    };
    scene.github.until(Duration::from_secs(20), removed).unwrap();
}

/// A registration token, as a person mints one.
pub fn mint(scene: &Scene) -> String {
    post(scene, "registration-token", "")["token"].as_str().unwrap().to_owned()
}

/// A just-in-time configuration for a runner of this name.
pub fn jit(scene: &Scene, name: &str) -> String {
    let asked = serde_json::json!({ "name": name, "runner_group_id": 1, "labels": ["self-hosted", "vega"] });
    post(scene, "generate-jitconfig", &asked.to_string())["encoded_jit_config"].as_str().unwrap().to_owned()
}

fn post(scene: &Scene, call: &str, body: &str) -> serde_json::Value {
    let path = format!("api/v3/repos/{}/actions/runners/{call}", scene.repository);
    let output = std::process::Command::new("curl")
        .args(["-fsS", "-X", "POST", "-H", &format!("Authorization: Bearer {LOGIN}"), "--data", body])
        .arg(format!("{}/{path}", scene.github.url()))
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Run a push's job to its end, whatever that is.
pub fn outcome(scene: &Scene, job: Job) -> Outcome {
    let job = scene.github.enqueue(job);
    scene.github.wait(job, Duration::from_secs(120)).with_context(|| scene.engine.logs(&scene.name)).unwrap()
}

/// A push's job with this script.
pub fn push(scene: &Scene, script: &str) -> Job {
    Job::push(&scene.repository, "job", &["self-hosted", "vega"], script)
}

/// Wait until the container's log has this.
pub fn until_said(scene: &Scene, what: &str) {
    let said = || scene.engine.logs(&scene.name).contains(what);
    scene
        .github
        .until(Duration::from_secs(60), said)
        .with_context(|| format!("{what:?}: {}", scene.engine.logs(&scene.name)))
        .unwrap();
}

/// The processes of the container's namespace as this machine numbers them: their `status` files.
pub fn processes(scene: &Scene) -> Vec<(u32, String)> {
    let first = scene.engine.pid(&scene.name).unwrap();
    let space = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let ours = space(first).unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| space(*pid).is_some_and(|other| other == ours))
        .filter_map(|pid| Some((pid, fs::read_to_string(format!("/proc/{pid}/status")).ok()?)))
        .collect()
}

/// One field of a `status` file.
pub fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// The container's listener, as this machine numbers it.
pub fn listener(scene: &Scene) -> Option<u32> {
    let named = |(_, status): &&(u32, String)| field(status, "Name") == "Runner.Listener";
    processes(scene).iter().find(named).map(|(pid, _)| *pid)
}
