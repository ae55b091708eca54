//! Restarts, crashes and changed settings: one runner, one container, no needless token.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use simulator::{
    cache::Server,
    sigstore::{Identity, attach},
};
use testbed::{
    by_hand::listener,
    caching::{Bench, narinfo, paths},
    layout::demo_image,
    salted::salted,
    scene::{IMAGE, Scene},
    scripts::sandboxed_build,
};

const SOON: Duration = Duration::from_secs(30);

fn token_is_gone(scene: &Scene) {
    let token = Path::new("/run/vega-builder").join(&scene.name).join("registration-token");
    assert!(!token.exists(), "the token lies at {}", token.display());
}

#[test]
fn podman_a_restart_mints_no_token() {
    let scene = Scene::new("restart").unwrap();
    scene.up(&[]).unwrap();
    for _ in 0..2 {
        scene.engine.said(&["restart", "--time", "10", &scene.name]).unwrap();
        // A session of the listener before may still count as online.
        scene.github.until(Duration::from_secs(30), || listener(&scene).is_some()).unwrap();
        scene.until_online(true).unwrap();
    }
    scene.job("true").unwrap();
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (1, 1));
    scene.down().unwrap();
}

#[test]
fn podman_other_caps_make_the_container_anew_without_a_token_other_labels_with_one() {
    let scene = Scene::new("changed").unwrap();
    scene.up(&[]).unwrap();
    let id = |scene: &Scene| scene.engine.fact(&scene.name, "/Id").unwrap();
    let first = id(&scene);
    scene.up(&[]).unwrap();
    assert_eq!(id(&scene), first, "nothing changed");
    scene.up(&["--memory", "1g"]).unwrap();
    let second = id(&scene);
    assert_ne!(second, first);
    assert_eq!(scene.github.minted(), 1, "the registration was in its volume");
    scene.up(&["--memory", "1g", "--labels", "self-hosted,vega,big"]).unwrap();
    assert_ne!(id(&scene), second);
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (2, 1));
    assert!(scene.github.runners()[0].labels.contains(&"big".to_owned()));
    scene.down().unwrap();
}

/// What a unit asks once its container runs; another `up` may have begun by then.
#[test]
fn podman_a_proof_that_another_up_overtakes_stops_nothing_of_what_that_has_made() {
    let scene = Scene::new("overtaken").unwrap();
    scene.up(&[]).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let proof = scene.run(&["prove", &scene.name]).unwrap();
                let said = String::from_utf8_lossy(&proof.stderr).into_owned();
                assert!(proof.status.success() || said.contains("does not run"), "{said}");
            }
        });
        for pids in ["300", "310", "320", "330"] {
            scene.up(&["--pids", pids]).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    scene.job("true").unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_kill_9_after_each_step_then_up_again_gives_one_runner_and_leaves_no_token() {
    let bench = Bench::new("killed");
    let (scene, cache, key) = (&bench.scene, Server::start().unwrap(), bench.key());
    let pushing = ["--cache-to", cache.url(), "--cache-key", key.to_str().unwrap()];
    for steps in 0.. {
        let up = ["up", &scene.repository, "--output", "json", "--wait", "60"];
        let mut up = scene.command(&[&up[..], &pushing].concat());
        let mut child = up.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let seen = lines.filter(|line| line.contains("\"step\"")).take(steps).count();
        let finished = steps > 0 && seen < steps;
        child.kill().unwrap();
        child.wait().unwrap();
        if finished {
            break;
        }
        bench.up(cache.url(), "no");
        let all = scene.engine.containers().unwrap();
        let ours = all.iter().filter(|name| name.starts_with(&scene.name)).count();
        // With what pushes its builds.
        assert_eq!((ours, scene.github.runners().len()), (2, 1), "killed after {steps} steps");
        token_is_gone(scene);
        let built = paths(&scene.job(&sandboxed_build(&format!("killed-{steps}"))).unwrap()).remove(0);
        let is_there = || cache.file(&narinfo(&built)).is_some();
        assert!(scene.github.until(SOON, is_there).is_ok(), "{built} is lost after {steps} steps");
        scene.down().unwrap();
        assert!(scene.github.runners().is_empty());
        assert!(!Path::new("/var/lib/vega-builder").join(&scene.name).exists());
    }
    scene.down().unwrap();
}

/// Whether an engine is making the runner's container right now.
fn is_being_created(scene: &Scene) -> bool {
    let name = format!("--name={}", scene.name);
    std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.nth(1) == Some(b"create") && words.any(|word| word == name.as_bytes())
    })
}

#[test]
fn podman_an_up_that_was_killed_while_the_engine_made_its_container_is_typed_again_at_once() {
    let scene = Scene::new("killed-creating").unwrap();
    for _ in 0..3 {
        let mut up = scene.command(&["up", &scene.repository, "--output", "json"]);
        let mut child = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !is_being_created(&scene) {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        scene.up(&[]).unwrap();
        assert_eq!(scene.github.runners().len(), 1);
        token_is_gone(&scene);
        scene.down().unwrap();
    }
}

#[test]
fn podman_a_runner_that_was_removed_at_github_waits_for_register() {
    let scene = Scene::new("forgotten").unwrap();
    scene.up(&[]).unwrap();
    scene.github.forget(&scene.name);
    let state = Path::new("/run/vega-builder").join(&scene.name).join("state.json");
    let waits = || std::fs::read_to_string(&state).is_ok_and(|text| text.contains("waiting-for-token"));
    scene.github.until(SOON, waits).unwrap();
    testbed::scene::succeeded(&scene.run(&["register", &scene.name]).unwrap()).unwrap();
    scene.until_online(true).unwrap();
    token_is_gone(&scene);
    assert_eq!(scene.github.minted(), 2);
    let told = |text: &str| text.lines().filter(|line| line.contains("GitHub no longer knows")).count();
    assert_eq!(told(&scene.engine.logs(&scene.name)), 1, "{}", scene.engine.logs(&scene.name));
    let events = testbed::scene::succeeded(&scene.run(&["events", &scene.name]).unwrap()).unwrap();
    assert_eq!(told(&events), 1, "{events}");
    scene.down().unwrap();
}

#[test]
fn podman_down_keeps_the_store_when_asked_and_the_next_up_uses_it() {
    let scene = Scene::new("keep-store").unwrap();
    scene.up(&[]).unwrap();
    scene.job("echo kept >f; nix-store --add f >path; ln -s \"$(cat path)\" /tmp/x").unwrap();
    testbed::scene::succeeded(&scene.run(&["down", &scene.name, "--keep-store"]).unwrap()).unwrap();
    assert!(scene.engine.volumes().unwrap().contains(&format!("{}-store", scene.name)));
    scene.up(&[]).unwrap();
    scene.job("ls -d /nix/store/*-f").unwrap();
    scene.down().unwrap();
    assert!(!scene.engine.volumes().unwrap().iter().any(|volume| volume.starts_with(&scene.name)));
}

#[test]
fn podman_what_a_job_left_running_is_gone_before_the_next_job() {
    let scene = Scene::new("leftovers").unwrap();
    scene.up(&[]).unwrap();
    let alive = "cat /proc/[0-9]*/comm 2>/dev/null | grep -c '^sleep$' || true";
    let first = scene.job(&format!("setsid sleep 1000 >/dev/null 2>&1 & sleep 0.2; {alive}")).unwrap();
    assert_eq!(first.lines().next_back(), Some("1"), "{first}");
    let second = scene.job(alive).unwrap();
    assert_eq!(second.lines().next_back(), Some("0"), "{second}");
    scene.down().unwrap();
}

#[test]
fn podman_a_newer_image_is_taken_without_a_token_and_the_store_stays() {
    let scene = Scene::new("newer").unwrap();
    scene.up(&[]).unwrap();
    scene.job("echo kept >f; nix-store --add f").unwrap();
    let (newer, _) = salted(&demo_image(), scene.folder.path(), "newer").unwrap();
    let digest = scene.registry.push(&newer, IMAGE, "latest").unwrap();
    let bundle = scene.authority.sign(&digest, &Identity::vega()).unwrap();
    attach(&scene.registry.address, IMAGE, &digest, &bundle).unwrap();
    scene.up(&[]).unwrap();
    let log = scene.job("ls -d /nix/store/*-f; cat /etc/salt").unwrap();
    assert!(log.contains("newer"), "{log}");
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (1, 1));
    scene.down().unwrap();
}
