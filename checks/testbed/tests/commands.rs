//! What each command tells, for people and for programs.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use serde_json::Value;
use simulator::fault::{Fault, Kind};
use testbed::{
    scene::{LOGIN, Scene, succeeded},
    search::Search,
};

#[test]
fn podman_status_tells_what_runs_under_which_caps_and_what_github_says() {
    let scene = Scene::new("status").unwrap();
    scene.up(&["--memory", "1g", "--cpus", "1.5", "--pids", "300"]).unwrap();
    let text = succeeded(&scene.run(&["status", &scene.name]).unwrap()).unwrap();
    for words in [
        "running in podman",
        "signed by https://github.com/Ad-Astra-Computing/vega-agent/",
        "1 GiB",
        "1.5",
        "300",
        "all of them",
        "listening",
        "builds in the sandbox",
        "online, idle",
        "a restart needs no token",
    ] {
        assert!(text.contains(words), "'{words}' is missing in:\n{text}");
    }
    let told: Value = serde_json::from_str(
        &succeeded(&scene.run(&["status", &scene.name, "--output", "json"]).unwrap()).unwrap(),
    )
    .unwrap();
    let told = &told[0];
    assert_eq!(told["caps"]["in_force"]["memory_max"], 1 << 30);
    assert_eq!(told["caps"]["in_force"]["cpu_max"], 1500);
    assert_eq!(told["caps"]["in_force"]["pids_max"], 300);
    assert_eq!(told["container"]["is_of_the_verified_image"], true);
    assert_eq!(told["github"]["status"], "online");
    assert!(told["store_bytes"].as_u64().unwrap() > 1 << 20);
    assert_eq!(told["runner_version"]["version"], "2.336.0");
    assert!(told["runner_version"]["warning"].is_null(), "{told}");

    // GitHub serves the image's runner for a few days more.
    scene.github.end_version(Some(jiff::Timestamp::now() + Duration::from_secs(9 * 86400 + 60)));
    let text = succeeded(&scene.run(&["status", &scene.name]).unwrap()).unwrap();
    let line = text.lines().find(|line| line.contains("2.336.0")).unwrap_or_default();
    assert!(line.contains(", in 9 days: type `vega-builder update"), "{text}");

    scene.engine.said(&["stop", "--time", "10", &scene.name]).unwrap();
    let stopped = scene.run(&["status", &scene.name]).unwrap();
    assert_eq!(stopped.status.code(), Some(8), "a runner that does not run is not well");
    scene.down().unwrap();
}

#[test]
fn podman_logs_are_the_runners_own() {
    let scene = Scene::new("logs").unwrap();
    let none = scene.run(&["logs", "octo-org/nowhere"]).unwrap();
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    scene.up(&[]).unwrap();
    let said = succeeded(&scene.run(&["logs", &scene.name]).unwrap()).unwrap();
    assert!(said.contains("Listening for Jobs"), "{said}");
    let last = succeeded(&scene.run(&["logs", &scene.name, "--lines", "1"]).unwrap()).unwrap();
    assert_eq!(last.lines().count(), 1, "{last}");
    let uploads = scene.run(&["logs", &scene.name, "--uploads"]).unwrap();
    let said = String::from_utf8_lossy(&uploads.stderr).into_owned();
    assert!(!uploads.status.success() && said.contains("--cache-to"), "{said}");
    scene.down().unwrap();
}

#[test]
fn podman_a_container_of_another_image_under_the_runners_name_shows() {
    let scene = Scene::new("impostor").unwrap();
    scene.up(&[]).unwrap();
    let record = Path::new("/var/lib/vega-builder").join(&scene.name).join("installation.json");
    let mut told: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    told["local_id"] = Value::String("0".repeat(64));
    fs::write(&record, told.to_string()).unwrap();
    let status = scene.run(&["status", &scene.name]).unwrap();
    assert_eq!(status.status.code(), Some(8));
    assert!(String::from_utf8_lossy(&status.stdout).contains("ANOTHER IMAGE"));
    scene.down().unwrap();
}

#[test]
fn podman_down_offline_takes_away_what_is_here_and_says_what_it_did_not_do() {
    let scene = Scene::new("offline").unwrap();
    scene.up(&[]).unwrap();
    scene.github.fault(Fault::status("GET", "/actions/runners", 503, &[]).times(3));
    let refused = scene.run(&["down", &scene.name]).unwrap();
    assert_eq!(refused.status.code(), Some(5));
    assert!(scene.engine.exists(&scene.name), "everything stays for the next try");
    let before = scene.github.requests().len();
    succeeded(&scene.run(&["down", &scene.name, "--offline"]).unwrap()).unwrap();
    let asked: Vec<_> = scene.github.requests().split_off(before);
    assert!(!asked.iter().any(|request| request.path.contains("/api/v3/")), "{asked:?}");
    assert!(!scene.engine.exists(&scene.name));
    assert_eq!(scene.github.runners().len(), 1, "GitHub lists it until somebody removes it there");
}

#[test]
fn podman_a_damaged_record_does_not_keep_a_runner_here_for_ever() {
    let scene = Scene::new("damaged-record").unwrap();
    scene.up(&[]).unwrap();
    let record = Path::new("/var/lib/vega-builder").join(&scene.name).join("installation.json");
    fs::write(&record, "{ half").unwrap();
    let refused = scene.run(&["down", &scene.name]).unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--offline"));
    succeeded(&scene.run(&["down", &scene.name, "--offline"]).unwrap()).unwrap();
    assert!(!scene.engine.exists(&scene.name) && !record.exists());
}

#[test]
fn podman_a_failure_is_told_to_programs_as_an_object() {
    let scene = Scene::new("failure-json").unwrap();
    scene.github.fault(Fault::status("GET", "/actions/runners", 401, &[]));
    let output = scene.run(&["up", &scene.repository, "--output", "json"]).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(said.lines().next_back().unwrap()).unwrap();
    assert_eq!(last["error"]["exit_code"], 5);
    assert!(last["error"]["message"].as_str().unwrap().contains("gh auth login"));
}

#[test]
fn podman_the_login_is_in_no_process_that_lives_on() {
    // One of its own: other tests' programs are at work beside this one, each with the common login.
    const OWN: &str = "ghp_thisloginmustnotliveon0123456789abcd";
    let scene = Scene::new("login-gone").unwrap();
    scene.github.credential(OWN, true);
    let up = ["up", scene.repository.as_str(), "--wait", "60"];
    succeeded(&scene.command(&up).env("GH_TOKEN", OWN).output().unwrap()).unwrap();
    let mut search = Search::new(OWN);
    search.processes();
    search.container(&scene.engine, &scene.name).unwrap();
    search.container_files(&scene.engine, &scene.name).unwrap();
    search.files(Path::new("/run"));
    search.files(Path::new("/var/lib/vega-builder"));
    assert!(search.seen.is_empty(), "{:?}", search.seen);
    scene.down().unwrap();
}

#[test]
fn podman_the_login_of_gh_and_the_variables_of_ci_are_taken() {
    let scene = Scene::new("logins").unwrap();
    let folder = scene.folder.path().join("bin");
    fs::create_dir(&folder).unwrap();
    let gh = format!("#!/bin/sh\n[ \"$1 $2\" = 'auth token' ] && echo {LOGIN}\n");
    fs::write(folder.join("gh"), gh).unwrap();
    fs::set_permissions(folder.join("gh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let up = |variable: &str| {
        let mut command = scene.command(&["up", &scene.repository, "--wait", "60"]);
        command.env_remove("GH_TOKEN").env("PATH", &path).env(variable, LOGIN).output().unwrap()
    };
    succeeded(&up("UNRELATED")).unwrap();
    scene.down().unwrap();
    succeeded(&up("GITHUB_TOKEN")).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_github_that_does_not_answer_mints_no_second_token() {
    let scene = Scene::new("no-reply").unwrap();
    scene.github.fault(Fault::new("POST", "registration-token", Kind::Delay(Duration::from_secs(45))));
    let output = scene.run(&["up", &scene.repository]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("no answer came"), "{said}");
    let mints = scene.github.requests().iter().filter(|r| r.path.contains("registration-token")).count();
    assert!(mints <= 1, "it was asked {mints} times");
    assert!(!scene.engine.exists(&scene.name));
}

#[test]
fn podman_the_caps_that_nobody_gave_are_said_with_their_reason() {
    let scene = Scene::new("default-caps").unwrap();
    let mut command = scene.command(&["up", &scene.repository, "--wait", "60"]);
    for cap in ["MEMORY", "CPUS", "PIDS"] {
        command.env_remove(format!("VEGA_BUILDER_{cap}"));
    }
    let output = command.output().unwrap();
    succeeded(&output).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("default (").count(), 3, "{said}");
    assert!(said.contains("leaves the host"), "{said}");
    scene.down().unwrap();
}

#[test]
fn podman_up_leaves_no_core_dump_in_which_a_token_could_be_found() {
    let scene = Scene::new("core-dump").unwrap();
    // While it holds the login and asks for a token.
    scene.github.fault(Fault::new("POST", "registration-token", Kind::Delay(Duration::from_secs(20))));
    let folder = scene.folder.path().join("crash");
    fs::create_dir(&folder).unwrap();
    let line =
        format!("ulimit -c unlimited; exec {} up {}", testbed::scene::program().display(), scene.repository);
    let variables: Vec<_> = scene
        .command(&[])
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    let mut up = std::process::Command::new("sh")
        .args(["-c", &line])
        .current_dir(&folder)
        .envs(variables)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let limits = || fs::read_to_string(format!("/proc/{}/limits", up.id())).unwrap_or_default();
    let core = || limits().lines().find(|line| line.starts_with("Max core file size")).map(str::to_owned);
    let is_nothing = || core().is_some_and(|line| line.split_whitespace().nth(4) == Some("0"));
    scene.github.until(Duration::from_secs(15), is_nothing).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(up.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGABRT).unwrap();
    let status = up.wait().unwrap();
    assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&status), "it dumped its memory");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    // And the crash is repaired by typing it again.
    scene.up(&[]).unwrap();
    scene.down().unwrap();
}
