//! What PID 1 proves, refuses and survives before it listens, on the image run by hand or brought up.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use simulator::{
    fault::{Fault, Kind},
    github::RunnerInfo,
};
use testbed::{
    by_hand::{mint, outcome, push, remove, run, run_with, until_said},
    scene::Scene,
    scripts::{sandboxed_build, two_builds},
    search::Search,
};

fn state(scene: &Scene) -> String {
    let path = Path::new("/run/vega-builder").join(&scene.name).join("state.json");
    fs::read_to_string(path).unwrap_or_default()
}

/// The store's volume on this machine.
fn store(scene: &Scene) -> PathBuf {
    let volume = format!("{}-store", scene.name);
    scene.engine.said(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]).unwrap().into()
}

fn stop(scene: &Scene) {
    scene.engine.said(&["stop", "--time", "20", &scene.name]).unwrap();
    scene.github.until(Duration::from_secs(10), || !scene.github.is_online(&scene.name)).unwrap();
}

#[test]
fn podman_a_nix_conf_that_a_job_left_in_its_home_does_not_change_the_next_boots_proof() {
    let scene = Scene::new("home").unwrap();
    scene.up(&[]).unwrap();
    let hostile = scene.folder.path().join("nix.conf");
    fs::write(&hostile, "plugin-files = /home/runner/evil.so\nsandbox = false\nstore = dummy://\n").unwrap();
    let text = fs::read_to_string(&hostile).unwrap();
    scene.job(&format!("mkdir -p ~/.config/nix && cat >~/.config/nix/nix.conf <<'X'\n{text}X")).unwrap();
    stop(&scene);
    // As if nobody had tidied up after the job.
    let from = hostile.display().to_string();
    for folder in ["/home/runner/.config", "/home/runner/.config/nix"] {
        let made = scene.folder.path().join("empty");
        fs::create_dir_all(&made).unwrap();
        scene
            .engine
            .said(&["cp", &format!("{}/.", made.display()), &format!("{}:{folder}", scene.name)])
            .unwrap();
    }
    scene.engine.said(&["cp", &from, &format!("{}:/home/runner/.config/nix/nix.conf", scene.name)]).unwrap();
    scene.engine.said(&["start", &scene.name]).unwrap();
    scene.until_online(true).unwrap();
    assert!(state(&scene).contains("\"sandbox\":true"), "{}", state(&scene));
    let log = scene.job(&sandboxed_build("home")).unwrap();
    assert!(log.contains("sandbox: sandboxed"), "{log}");
    scene.down().unwrap();
}

#[test]
fn podman_a_damaged_path_of_the_closure_refuses_to_start_and_says_so_to_the_host() {
    let scene = Scene::new("damaged").unwrap();
    scene.up(&[]).unwrap();
    stop(&scene);
    // Not the runner's own path: all that the image is made of counts.
    let paths = fs::read_dir(store(&scene).join("store")).unwrap().flatten();
    let shell = paths.map(|entry| entry.path()).find(|path| path.ends_with_name("busybox-static")).unwrap();
    let program = shell.join("bin/busybox");
    let mut bytes = fs::read(&program).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&program, bytes).unwrap();
    scene.engine.said(&["start", &scene.name]).unwrap();
    until_said(&scene, "is damaged: its content is not what its hash says");
    assert!(state(&scene).contains("\"damaged\":true"), "{}", state(&scene));
    assert!(!scene.github.is_online(&scene.name), "broken is offline");
    scene.down().unwrap();
}

#[test]
fn podman_what_a_power_cut_left_of_nixs_database_is_made_anew_and_builds_run() {
    let scene = Scene::new("half-database").unwrap();
    scene.up(&[]).unwrap();
    let first = scene.job(&sandboxed_build("before")).unwrap();
    for (file, rest) in [("schema", ""), ("db.sqlite", "half a page of something")] {
        stop(&scene);
        fs::write(store(&scene).join("var/nix/db").join(file), rest).unwrap();
        scene.engine.said(&["start", &scene.name]).unwrap();
        scene.until_online(true).unwrap();
        until_said(&scene, "the database is made anew");
        // The path of an earlier build is there and unknown: it is built again, to the same path.
        let again = scene.job(&sandboxed_build("before")).unwrap();
        let path = |log: &str| log.lines().find(|line| line.starts_with("store path")).map(str::to_owned);
        assert!(path(&first).is_some() && path(&again) == path(&first), "{file}: {again}");
    }
    scene.down().unwrap();
}

#[test]
fn podman_builds_that_a_power_cut_emptied_are_removed_and_built_again() {
    let scene = Scene::new("emptied").unwrap();
    scene.up(&[]).unwrap();
    let old = built(&scene.job(&sandboxed_build("old")).unwrap());
    let pair = built_all(&scene.job(&two_builds("pair")).unwrap());
    stop(&scene);
    // Their content never reached the disk, and the host has another life since.
    let note = store(&scene).join("var/nix/vega-builder-synced");
    let text = fs::read_to_string(&note).unwrap();
    let mut noted: serde_json::Value = serde_json::from_str(&text).unwrap();
    noted["boot"] = "another life".into();
    noted["time"] = (noted["time"].as_i64().unwrap() - 3600).into();
    fs::write(&note, noted.to_string()).unwrap();
    for path in pair.iter().chain([&old]) {
        fs::write(store(&scene).join("store").join(path.file_name().unwrap()), "").unwrap();
    }
    scene.engine.said(&["start", &scene.name]).unwrap();
    scene.until_online(true).unwrap();
    until_said(&scene, "is damaged, as a power cut leaves it");
    let again = scene.job(&sandboxed_build("old")).unwrap();
    assert!(built(&again) == old && again.contains("sandbox: sandboxed"), "{again}");
    // One of them goes with the other that it was built from, whichever is looked at first.
    assert_eq!((pair.len(), built_all(&scene.job(&two_builds("pair")).unwrap())), (2, pair));
    scene.down().unwrap();
}

fn built_all(log: &str) -> Vec<PathBuf> {
    log.lines().filter_map(|line| line.strip_prefix("store path: ")).map(PathBuf::from).collect()
}

fn built(log: &str) -> PathBuf {
    built_all(log).remove(0)
}

trait Named {
    fn ends_with_name(&self, name: &str) -> bool;
}

impl Named for PathBuf {
    fn ends_with_name(&self, name: &str) -> bool {
        self.file_name().is_some_and(|own| own.to_string_lossy().ends_with(name))
    }
}

#[test]
fn podman_caps_that_are_not_in_force_are_found_from_inside_and_nothing_listens() {
    let scene = Scene::new("own-caps").unwrap();
    let token = format!("GITHUB_RUNNER_TOKEN={}", mint(&scene));
    let options = ["--cpus=1.5", "--memory-swap=1g"];
    let caps = |memory: u64| format!("VEGA_BUILDER_CAPS=memory={memory},millicpus=1500,pids=256");
    run_with(&scene, &[&token, "VEGA_NIX_SANDBOX=false", &caps(512 << 20)], &options);
    assert_eq!(scene.engine.said(&["wait", &scene.name]).unwrap(), "1");
    let log = scene.engine.logs(&scene.name);
    assert!(log.contains("the caps are not in force: memory.max is 1073741824, not 536870912;"), "{log}");
    assert!(scene.github.runners().is_empty(), "nothing was registered");
    remove(&scene);
    run_with(&scene, &[&token, "VEGA_NIX_SANDBOX=false", &caps(1 << 30)], &options);
    scene.until_online(true).unwrap();
    let log = scene.engine.logs(&scene.name);
    assert!(!log.contains("caps cannot be read"), "proven, not skipped: {log}");
    remove(&scene);
}

#[test]
fn podman_an_ephemeral_runner_does_one_job_and_ends_with_0() {
    let scene = Scene::new("ephemeral").unwrap();
    let token = format!("GITHUB_RUNNER_TOKEN={}", mint(&scene));
    run(&scene, &[&token, "VEGA_NIX_SANDBOX=false", "VEGA_RUNNER_EPHEMERAL=true"]);
    scene.until_online(true).unwrap();
    assert_eq!(outcome(&scene, push(&scene, "true")).result, "Succeeded");
    assert_eq!(scene.engine.said(&["wait", &scene.name]).unwrap(), "0");
    assert!(scene.github.runners().is_empty(), "GitHub has forgotten it");
    remove(&scene);
}

#[test]
fn podman_a_stop_while_it_registers_ends_it_at_once_and_the_token_is_gone() {
    let scene = Scene::new("registering").unwrap();
    scene.github.fault(Fault::new("POST", "/_runner/agents", Kind::Delay(Duration::from_secs(60))));
    let file = scene.folder.path().join("token");
    let token = mint(&scene);
    fs::write(&file, &token).unwrap();
    let mount = format!("--volume={}:/run/handed", scene.folder.path().display());
    run_with(&scene, &["GITHUB_RUNNER_TOKEN_FILE=/run/handed/token", "VEGA_NIX_SANDBOX=false"], &[&mount]);
    let seen = || {
        let mut search = Search::new(&token);
        search.processes();
        !search.seen.is_empty()
    };
    scene.github.until(Duration::from_secs(30), seen).unwrap();
    let began = Instant::now();
    scene.engine.said(&["stop", "--time", "30", &scene.name]).unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(!seen() && !file.exists());
    remove(&scene);
}

#[test]
fn podman_a_token_that_cannot_be_removed_is_not_used_and_the_reason_is_said_once() {
    let scene = Scene::new("read-only").unwrap();
    let file = scene.folder.path().join("token");
    fs::write(&file, mint(&scene)).unwrap();
    let variables = ["GITHUB_RUNNER_TOKEN_FILE=/run/handed-token", "VEGA_NIX_SANDBOX=false"];
    let mount = format!("--volume={}:/run/handed-token", file.display());
    run_with(&scene, &variables, &[&format!("{mount}:ro")]);
    until_said(&scene, "cannot be removed by this container");
    std::thread::sleep(Duration::from_secs(3));
    let log = scene.engine.logs(&scene.name);
    assert_eq!(log.matches("cannot be removed by this container").count(), 1, "{log}");
    assert!(log.contains("mount it without `:ro`") && scene.github.runners().is_empty(), "{log}");
    remove(&scene);
    // What it says helps: a file that is mounted by itself can be emptied.
    run_with(&scene, &variables, &[&mount]);
    scene.until_online(true).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    remove(&scene);
}

#[test]
fn podman_a_session_conflict_mints_nothing_and_ends_by_itself() {
    let scene = Scene::new("conflict").unwrap();
    scene.up(&[]).unwrap();
    stop(&scene);
    let other = Other::hold(&scene, &scene.github.runners()[0]);
    scene.engine.said(&["start", &scene.name]).unwrap();
    until_said(&scene, "another live process uses this registration (5)");
    assert!(state(&scene).contains("(5)"), "{}", state(&scene));
    drop(other);
    until_said(&scene, "Listening for Jobs");
    scene.job("true").unwrap();
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (1, 1));
    scene.down().unwrap();
}

/// Another process with the runner's registration: a session that is kept alive until dropped.
struct Other {
    end: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Other {
    fn hold(scene: &Scene, runner: &RunnerInfo) -> Self {
        let url = format!("{}/_runner/sessions", scene.github.url());
        let body =
            serde_json::json!({ "runner": runner.id, "credential": runner.credential, "version": "2.336.0" })
                .to_string();
        let post = |url: &str, body: &str| {
            let mut curl = std::process::Command::new("curl");
            curl.args(["-fsS", "-X", "POST", "-H", "content-type: application/json", "-d", body, url]);
            curl.output().unwrap()
        };
        let reply: serde_json::Value = serde_json::from_slice(&post(&url, &body).stdout).unwrap();
        let alive = format!("{url}/{}/alive", reply["session"].as_str().unwrap());
        let end = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = std::sync::Arc::clone(&end);
        std::thread::spawn(move || {
            while !told.load(std::sync::atomic::Ordering::Relaxed) {
                post(&alive, "");
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        Self { end }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.end.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn podman_a_version_that_github_refuses_is_said_and_the_registration_stays() {
    let scene = Scene::new("version").unwrap();
    scene.up(&[]).unwrap();
    scene.github.refuse_version(true);
    stop(&scene);
    scene.engine.said(&["start", &scene.name]).unwrap();
    until_said(&scene, "GitHub refuses this version of the runner (7)");
    assert!(state(&scene).contains("(7)"), "{}", state(&scene));
    scene.github.refuse_version(false);
    stop(&scene);
    scene.engine.said(&["start", &scene.name]).unwrap();
    scene.until_online(true).unwrap();
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (1, 1));
    scene.down().unwrap();
}
