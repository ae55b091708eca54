//! Restarts, crashes and changed settings: one runner, one container, no needless token.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    time::Duration,
};

use simulator::sigstore::{Identity, attach};
use testbed::{
    by_hand::listener,
    layout::demo_image,
    salted::salted,
    scene::{IMAGE, Scene},
};

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

#[test]
fn podman_kill_9_after_each_step_then_up_again_gives_one_runner_and_leaves_no_token() {
    let scene = Scene::new("killed").unwrap();
    for steps in 0.. {
        let mut up = scene.command(&["up", &scene.repository, "--output", "json", "--wait", "60"]);
        let mut child = up.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let seen = lines.filter(|line| line.contains("\"step\"")).take(steps).count();
        let finished = steps > 0 && seen < steps;
        child.kill().unwrap();
        child.wait().unwrap();
        if finished {
            break;
        }
        scene.up(&[]).unwrap();
        let ours = scene.engine.containers().unwrap().into_iter().filter(|name| *name == scene.name).count();
        assert_eq!((ours, scene.github.runners().len()), (1, 1), "killed after {steps} steps");
        token_is_gone(&scene);
        scene.job("true").unwrap();
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
    scene.github.until(Duration::from_secs(30), waits).unwrap();
    testbed::scene::succeeded(&scene.run(&["register", &scene.name]).unwrap()).unwrap();
    scene.until_online(true).unwrap();
    token_is_gone(&scene);
    assert_eq!(scene.github.minted(), 2);
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
