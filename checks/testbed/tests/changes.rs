//! Changed settings and things in the way: what works is never lost, what is not ours is never touched.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output, time::Duration};

use simulator::{fault::Fault, github::Job};
use testbed::scene::{LOGIN, Scene, succeeded};

const SETTINGS: i32 = 2;
const GITHUB: i32 = 5;
const ENGINE: i32 = 6;
const CAPS: i32 = 7;
const OFFLINE: i32 = 8;
const HOST: i32 = 9;

#[track_caller]
fn fails(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "'{word}' is missing in: {said}");
    }
}

fn up(scene: &Scene, more: &[&str]) -> Output {
    let mut arguments = vec!["up", scene.repository.as_str(), "--wait", "30"];
    arguments.extend(more);
    scene.run(&arguments).unwrap()
}

fn token_is_gone(scene: &Scene) {
    assert!(!Path::new("/run/vega-builder").join(&scene.name).join("registration-token").exists());
}

#[test]
fn podman_a_change_that_cannot_be_made_leaves_the_running_runner_alone() {
    let scene = Scene::new("refused-change").unwrap();
    scene.up(&[]).unwrap();
    let pid = scene.engine.pid(&scene.name).unwrap();
    scene.github.fault(Fault::status("POST", "registration-token", 503, &[]));
    fails(&up(&scene, &["--labels", "self-hosted,vega,big"]), GITHUB, &["(503)"]);
    fails(&up(&scene, &["--network", "no-such-network"]), ENGINE, &["no-such-network"]);
    assert_eq!(scene.engine.pid(&scene.name).unwrap(), pid, "the runner was restarted");
    assert_eq!(scene.engine.containers().unwrap(), [scene.name.as_str()], "a container was left beside it");
    scene.job("true").unwrap();
    // And the next good change is made.
    scene.up(&["--labels", "self-hosted,vega,big"]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_first_up_that_the_engine_refuses_leaves_nothing() {
    let scene = Scene::new("refused-first").unwrap();
    fails(&up(&scene, &["--network", "no-such-network"]), ENGINE, &["no-such-network"]);
    for place in ["/var/lib/vega-builder", "/run/vega-builder"] {
        assert!(!Path::new(place).join(&scene.name).exists(), "{place} has files");
    }
    assert!(!scene.engine.volumes().unwrap().iter().any(|volume| volume.starts_with(&scene.name)));
    scene.up(&[]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_change_does_not_cancel_a_job_unless_told() {
    let scene = Scene::new("at-work").unwrap();
    scene.up(&[]).unwrap();
    let enqueue =
        |script: &str| scene.github.enqueue(Job::push(&scene.repository, "long", &["vega"], script));
    let job = enqueue("echo at work; sleep 8; echo finished");
    let begun = || scene.github.log_so_far(job).contains("at work");
    scene.github.until(Duration::from_secs(20), begun).unwrap();
    fails(&up(&scene, &["--memory", "1g"]), HOST, &["is at work", "--now"]);
    fails(&scene.run(&["down", &scene.name]).unwrap(), HOST, &["is at work", "--now"]);
    let outcome = scene.github.wait(job, Duration::from_secs(30)).unwrap();
    assert!(outcome.result == "Succeeded" && outcome.log.contains("finished"), "{outcome:?}");

    let job = enqueue("echo at work; sleep 300; echo finished");
    let begun = || scene.github.log_so_far(job).contains("at work");
    scene.github.until(Duration::from_secs(20), begun).unwrap();
    scene.up(&["--memory", "1g", "--now"]).unwrap();
    let outcome = scene.github.outcome(job);
    assert!(outcome.is_none_or(|outcome| outcome.result != "Succeeded"));
    assert_eq!(scene.github.minted(), 1);
    scene.down().unwrap();
}

#[test]
fn podman_typed_in_another_shell_it_changes_nothing() {
    let scene = Scene::new("other-shell").unwrap();
    scene.up(&[]).unwrap();
    let id = scene.engine.fact(&scene.name, "/Id").unwrap();
    let mut repository = scene.repository.clone();
    repository.make_ascii_uppercase();
    // Fewer open files, other letters, another order of labels, and no caps: those of the installation hold.
    let line = format!(
        "ulimit -n 512; exec {} up {repository} --name {} --labels vega,Self-Hosted",
        testbed::scene::program().display(),
        scene.name,
    );
    let mut shell = scene.command(&[]);
    let variables: Vec<_> = shell.get_envs().map(|(n, v)| (n.to_owned(), v.map(ToOwned::to_owned))).collect();
    shell = std::process::Command::new("sh");
    shell.arg("-c").arg(line);
    for (name, value) in variables {
        if let Some(value) = value.filter(|_| {
            !["MEMORY", "CPUS", "PIDS"]
                .iter()
                .any(|cap| name.to_string_lossy() == format!("VEGA_BUILDER_{cap}"))
        }) {
            shell.env(name, value);
        }
    }
    let said = succeeded(&shell.output().unwrap()).unwrap();
    assert!(said.contains("is online"), "{said}");
    assert_eq!(scene.engine.fact(&scene.name, "/Id").unwrap(), id, "the container was made anew");
    scene.down().unwrap();
}

#[test]
fn podman_another_repository_under_the_same_name_is_refused() {
    let scene = Scene::new("same-name").unwrap();
    scene.up(&[]).unwrap();
    let pid = scene.engine.pid(&scene.name).unwrap();
    scene.github.repository("other-org/same-name");
    let refused = scene.run(&["up", "other-org/same-name"]).unwrap();
    fails(&refused, SETTINGS, &["installed here for", "octo-org/same-name", "--name"]);
    assert_eq!(scene.engine.pid(&scene.name).unwrap(), pid);
    scene.down().unwrap();
}

#[test]
fn podman_volumes_and_containers_of_somebody_else_are_neither_used_nor_removed() {
    let scene = Scene::new("not-ours").unwrap();
    let volume = format!("{}-store", scene.name);
    scene.engine.said(&["volume", "create", &volume]).unwrap();
    fails(&up(&scene, &[]), HOST, &[&volume, "not ours", "--name"]);
    assert!(scene.engine.volumes().unwrap().contains(&volume), "it was removed");
    assert_eq!(scene.github.minted(), 0);
    scene.engine.said(&["volume", "rm", &volume]).unwrap();

    let image = scene.pinned();
    scene.engine.said(&["create", "--tls-verify=false", "--name", &scene.name, &image, "true"]).unwrap();
    fails(&up(&scene, &[]), HOST, &["not ours"]);
    assert!(scene.engine.exists(&scene.name), "it was removed");
    scene.engine.said(&["rm", "--force", "--volumes", &scene.name]).unwrap();
    scene.up(&[]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_cap_that_the_engine_drops_stops_the_container_with_7() {
    let scene = Scene::new("dropped-cap").unwrap();
    let podman = which("podman");
    let folder = scene.folder.path().join("bin");
    fs::create_dir(&folder).unwrap();
    let wrapper = format!(
        "#!/bin/bash\nargs=()\nfor a in \"$@\"; do case $a in --pids-limit=*) args+=(--pids-limit=0) ;; \
         *) args+=(\"$a\") ;; esac; done\nexec {podman} \"${{args[@]}}\"\n"
    );
    fs::write(folder.join("podman"), wrapper).unwrap();
    fs::set_permissions(folder.join("podman"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = scene.command(&["up", &scene.repository]);
    let began = std::time::Instant::now();
    let output = command.env("PATH", path).output().unwrap();
    // PID 1 hears that it is to end, though it has only just begun: the engine need not kill it after a minute.
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    fails(&output, CAPS, &["the caps are not in force", "pids.max"]);
    let status = scene.engine.fact(&scene.name, "/State/Status").unwrap();
    assert_ne!(status, "running", "it runs without a cap");
    token_is_gone(&scene);
    assert!(scene.github.runners().iter().all(|runner| !scene.github.is_online(&runner.name)));
    scene.down().unwrap();
}

fn which(program: &str) -> String {
    let output = std::process::Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn podman_a_runner_that_cannot_reach_github_ends_with_8_and_says_where_to_look() {
    let scene = Scene::new("unreachable").unwrap();
    // Its own network, where the simulated GitHub of this machine's loopback is not.
    let mut command = scene.command(&["up", &scene.repository, "--wait", "20"]);
    let output = command.env_remove("VEGA_BUILDER_NETWORK").output().unwrap();
    fails(&output, OFFLINE, &["does not come online", "vega-builder status"]);
    assert_ne!(scene.engine.fact(&scene.name, "/HostConfig/NetworkMode").unwrap(), "host");
    token_is_gone(&scene);
    scene.up(&[]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_store_whose_first_filling_was_cut_short_is_made_anew() {
    let scene = Scene::new("half-filled").unwrap();
    scene.up(&[]).unwrap();
    scene.engine.said(&["stop", "--time", "10", &scene.name]).unwrap();
    // As a crash in the middle of the first start leaves it: paths are missing, nobody has noted it as whole.
    let store = Path::new("/var/lib/vega-builder").join(&scene.name).join("store.json");
    let mut noted: serde_json::Value = serde_json::from_slice(&fs::read(&store).unwrap()).unwrap();
    noted.as_object_mut().unwrap().remove("seeded").unwrap();
    fs::write(&store, noted.to_string()).unwrap();
    let volume = format!("{}-store", scene.name);
    let place = scene.engine.said(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]).unwrap();
    let removed = std::process::Command::new("sh")
        .args(["-c", &format!("chmod -R u+w {place}/store/*busybox* && rm -rf {place}/store/*busybox*")])
        .status()
        .unwrap();
    assert!(removed.success());
    scene.up(&[]).unwrap();
    scene.job("ls -d /nix/store/*busybox*").unwrap();
    assert_eq!(scene.github.minted(), 1, "the registration is in a volume of its own");
    scene.down().unwrap();
}

#[test]
fn podman_what_a_crash_left_beside_a_runner_goes_with_the_next_up() {
    let scene = Scene::new("crash-beside").unwrap();
    scene.up(&[]).unwrap();
    // Between the old container's end and its successor's renaming.
    let successor = format!("{}.next", scene.name);
    scene.engine.said(&["stop", "--time", "10", &scene.name]).unwrap();
    scene.engine.said(&["rename", &scene.name, &successor]).unwrap();
    scene.up(&[]).unwrap();
    assert_eq!(scene.engine.containers().unwrap(), [scene.name.as_str()]);
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (1, 1));
    scene.down().unwrap();
    assert!(scene.engine.containers().unwrap().is_empty());
}

#[test]
fn podman_a_daemon_that_does_not_answer_is_not_taken_for_a_container_that_is_gone() {
    let scene = Scene::new("no-answer").unwrap();
    scene.up(&[]).unwrap();
    let folder = scene.folder.path().join("broken");
    fs::create_dir(&folder).unwrap();
    let broken = "#!/bin/sh\necho 'Cannot connect: dial unix /run/x.sock: connect: no such file or directory' >&2\nexit 125\n";
    fs::write(folder.join("podman"), broken).unwrap();
    fs::set_permissions(folder.join("podman"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    for command in [["down", &scene.name], ["up", &scene.repository]] {
        let output = scene.command(&command).env("PATH", &path).output().unwrap();
        fails(&output, ENGINE, &["no such file or directory"]);
    }
    assert_eq!(scene.github.runners().len(), 1, "it was deregistered");
    scene.job("true").unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_register_lays_no_token_down_that_nobody_waits_for() {
    let scene = Scene::new("needless").unwrap();
    scene.up(&[]).unwrap();
    succeeded(&scene.run(&["register", &scene.name]).unwrap()).unwrap();
    assert_eq!(scene.github.minted(), 1);
    token_is_gone(&scene);
    scene.down().unwrap();
}

#[test]
fn podman_down_and_status_ask_with_the_login_that_up_used() {
    let scene = Scene::new("same-login").unwrap();
    let file = scene.folder.path().join("github-token");
    fs::write(&file, LOGIN).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = scene.command(arguments);
        command.env_remove("GH_TOKEN").output().unwrap()
    };
    let file = file.to_str().unwrap();
    succeeded(&command(&["up", &scene.repository, "--token-file", file, "--wait", "60"])).unwrap();
    succeeded(&command(&["status", &scene.name])).unwrap();
    succeeded(&command(&["down", &scene.name])).unwrap();
    assert!(scene.github.runners().is_empty());
}
