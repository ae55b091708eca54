//! Another image for a runner that works: its job ends first, and what does not listen is gone back from.

use std::{
    fs,
    path::Path,
    process::{Child, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use simulator::{
    github::Job,
    sigstore::{Identity, attach_as_cosign},
};
use testbed::{
    layout::{demo_image, tiny_image},
    salted::{MUTE, layered, salted, with_entrypoint},
    scene::{IMAGE, Scene, succeeded},
    scripts,
    slots::Slots,
};

const SOON: Duration = Duration::from_secs(40);
const OFFLINE: i32 = 8;
const NOT_TRUSTED: i32 = 3;

/// Publish another image under the tag that the runner was installed with.
fn publish(scene: &Scene, layout: &Path) {
    let digest = scene.registry.push(layout, IMAGE, "latest").unwrap();
    let bundle = scene.authority.sign(&digest, &Identity::vega()).unwrap();
    attach_as_cosign(&scene.registry.address, IMAGE, &digest, &bundle).unwrap();
}

fn run(scene: &Scene, verb: &str, more: &[&str]) -> Output {
    scene.run(&[&[verb, scene.name.as_str()], more].concat()).unwrap()
}

#[track_caller]
fn fails(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "'{word}' is missing in: {said}");
    }
}

fn state(scene: &Scene) -> Value {
    let output = run(scene, "status", &["--output", "json"]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap()[0].clone()
}

/// This scene's own; another test's may be there.
fn containers(scene: &Scene) -> Vec<String> {
    let mut all = scene.engine.containers().unwrap();
    all.retain(|name| name.starts_with(&scene.name));
    all
}

fn at_work(scene: &Scene, seconds: u32) -> u64 {
    let script = format!("echo AT WORK; sleep {seconds}; echo FINISHED");
    let job = scene.github.enqueue(Job::push(&scene.repository, "job", &["self-hosted", "vega"], &script));
    scene.github.until(SOON, || scene.github.log_so_far(job).contains("AT WORK")).unwrap();
    job
}

fn in_background(scene: &Scene, arguments: &[&str]) -> Child {
    scene.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn podman_an_update_ends_the_job_first_keeps_everything_else_and_can_be_gone_back_from() {
    let scene = Scene::new("updated").unwrap();
    // podman takes that for ours as well: it has the digest.
    scene.registry.push(&demo_image(), "somebody/else", "latest").unwrap();
    let theirs = format!("{}/somebody/else", scene.registry.address);
    scene.engine.said(&["pull", "--quiet", "--tls-verify=false", &format!("{theirs}:latest")]).unwrap();
    scene.up(&["--memory", "1g", "--labels", "self-hosted,vega,big"]).unwrap();
    let first = state(&scene);
    let said = succeeded(&run(&scene, "update", &[])).unwrap();
    assert!(said.contains("newest image already"), "{said}");
    // What nobody signed changes nothing.
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    scene.registry.push(&evil, IMAGE, "latest").unwrap();
    let job = at_work(&scene, 6);
    fails(&run(&scene, "update", &[]), NOT_TRUSTED, &["is not signed"]);
    publish(&scene, &salted(&demo_image(), scene.folder.path(), "next").unwrap().0);
    let said = succeeded(&run(&scene, "update", &["--check"])).unwrap();
    assert!(said.contains("is newer"), "{said}");
    let updating = in_background(&scene, &["update", &scene.name]);
    let outcome = scene.github.wait(job, SOON).unwrap();
    assert!(outcome.result == "Succeeded" && outcome.log.contains("FINISHED"), "{outcome:?}");
    let said = succeeded(&updating.wait_with_output().unwrap()).unwrap();
    assert!(said.contains("`vega-builder rollback"), "{said}");
    let next = state(&scene);
    assert_ne!(next["digest"], first["digest"]);
    for same in ["repository", "labels", "image", "registered"] {
        assert_eq!(next[same], first[same], "{same}");
    }
    assert_eq!(
        (&next["caps"]["asked"], next["caps"]["in_force"].is_null()),
        (&first["caps"]["asked"], false)
    );
    let log = scene.job(&format!("cat /etc/salt; {}", scripts::sandboxed_build("updated"))).unwrap();
    assert!(log.contains("next") && log.contains("sandbox: sandboxed"), "{log}");
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (1, 1));
    assert_eq!(containers(&scene), [scene.name.as_str()], "something was left beside it");
    // `up` with the same settings finds nothing to do.
    let id = next["container"]["id"].clone();
    scene.up(&["--memory", "1g", "--labels", "self-hosted,vega,big"]).unwrap();
    assert_eq!(state(&scene)["container"]["id"], id);

    // A timer's update that begins as soon as the older image is noted does not go forward again.
    let going_back = in_background(&scene, &["rollback", &scene.name]);
    let noted = || state(&scene)["digest"] == first["digest"];
    scene.github.until(SOON, noted).unwrap();
    assert_eq!(state(&scene)["refused"]["digest"], next["digest"]);
    let said = succeeded(&run(&scene, "update", &[])).unwrap();
    assert!(said.contains("somebody went back from it"), "{said}");
    succeeded(&going_back.wait_with_output().unwrap()).unwrap();
    assert_eq!(state(&scene)["digest"], first["digest"]);
    scene.job(&scripts::sandboxed_build("back")).unwrap();
    let said = succeeded(&run(&scene, "update", &[])).unwrap();
    assert!(said.contains("stays") && said.contains("--to"), "{said}");
    let to = format!("{}/{IMAGE}@{}", scene.registry.address, next["evidence"]["signed"].as_str().unwrap());
    succeeded(&run(&scene, "update", &["--to", &to])).unwrap();
    assert_eq!((&state(&scene)["digest"], scene.github.minted()), (&next["digest"], 1));
    let down = run(&scene, "down", &[]);
    succeeded(&down).unwrap();
    let gone = String::from_utf8_lossy(&down.stderr);
    // Neither the image that ran nor the one that was gone back to takes room for ever; and what is somebody else's stays.
    let images = scene.engine.said(&["images", "--all", "--format", "{{.Repository}}"]).unwrap();
    let ours = format!("{}/{IMAGE}", scene.registry.address);
    assert!(!images.lines().any(|name| name == ours), "{images}; {gone}");
    assert!(images.lines().any(|name| name == theirs) && !gone.contains("stays: "), "{images}; {gone}");
    scene.engine.said(&["rmi", &format!("{theirs}:latest")]).unwrap();
}

/// Another window in the settings that `up` keeps, because no systemd here writes a timer.
fn window(scene: &Scene, at: &str, within: &str) {
    let file = Path::new("/var/lib/vega-builder").join(&scene.name).join("settings.toml");
    let kept = fs::read_to_string(&file).unwrap();
    let kept = kept.split("\n[update]").next().unwrap();
    fs::write(&file, format!("{kept}\n[update]\nat = \"{at}\"\nwithin = \"{within}\"\n")).unwrap();
}

#[test]
fn podman_an_update_by_itself_keeps_to_its_window_and_leaves_a_job_that_is_longer() {
    let scene = Scene::new("window").unwrap();
    let refused =
        scene.run(&["up", &scene.repository, "--name", &scene.name, "--update-at", "daily"]).unwrap();
    fails(&refused, 2, &["have cron type `vega-builder update`"]);
    scene.up(&[]).unwrap();
    let first = state(&scene);
    fails(&run(&scene, "update", &["--in-window"]), 1, &["has no window"]);
    publish(&scene, &salted(&demo_image(), scene.folder.path(), "next").unwrap().0);
    window(&scene, "2099-01-01 03:00", "2h");
    let said = succeeded(&run(&scene, "update", &["--in-window"])).unwrap();
    assert!(said.contains("its window (update.at) is not open now"), "{said}");
    // Open always, and each time for a little while.
    let job = at_work(&scene, 30);
    window(&scene, "*:*:*", "15s");
    let over = ["the window is over, and", "goes on with the image that it has"];
    fails(&run(&scene, "update", &["--in-window"]), 12, &over);
    let outcome = scene.github.wait(job, SOON).unwrap();
    assert!(outcome.result == "Succeeded" && outcome.log.contains("FINISHED"), "{outcome:?}");
    assert_eq!(state(&scene)["digest"], first["digest"]);
    window(&scene, "*:*:*", "2h");
    succeeded(&run(&scene, "update", &["--in-window"])).unwrap();
    assert_ne!(state(&scene)["digest"], first["digest"]);
    scene.down().unwrap();
}

/// What never listens, and ends when it is told to.

#[test]
fn podman_an_image_that_does_not_listen_is_gone_back_from_by_itself() {
    let scene = Scene::new("rolled-back").unwrap();
    scene.up(&[]).unwrap();
    let first = state(&scene);
    let (layout, _) = with_entrypoint(&demo_image(), scene.folder.path(), "mute", &MUTE).unwrap();
    publish(&scene, &layout);
    fails(
        &run(&scene, "update", &["--wait", "8"]),
        OFFLINE,
        &["does not work here", "is back at", "listens"],
    );
    let now = state(&scene);
    assert_eq!((&now["digest"], &now["container"]["id"]), (&first["digest"], &first["container"]["id"]));
    scene.until_online(true).unwrap();
    scene.job(&scripts::sandboxed_build("rolled-back")).unwrap();
    assert_eq!((scene.github.minted(), containers(&scene)), (1, vec![scene.name.clone()]));
    // A timer does not try it every night.
    let said = succeeded(&run(&scene, "update", &[])).unwrap();
    assert!(said.contains("stays"), "{said}");
    assert_eq!(state(&scene)["container"]["pid"], now["container"]["pid"]);
    scene.down().unwrap();
}

#[test]
fn podman_a_drain_before_another_image_listens_changes_nothing_and_an_update_killed_then_leaves_the_way_back()
{
    let scene = Scene::new("drained-update").unwrap();
    scene.up(&[]).unwrap();
    let first = state(&scene);
    let (layout, _) = with_entrypoint(&demo_image(), scene.folder.path(), "mute", &MUTE).unwrap();
    publish(&scene, &layout);
    let update = || {
        let updating = in_background(&scene, &["update", &scene.name, "--wait", "100"]);
        scene.github.until(SOON, || state(&scene)["digest"] != first["digest"]).unwrap();
        updating
    };
    let updating = update();
    succeeded(&run(&scene, "drain", &["--now"])).unwrap();
    fails(&updating.wait_with_output().unwrap(), 1, &["was drained before", "and stays with"]);
    let now = state(&scene);
    assert!(now["refused"].is_null() && !now["drained"].is_null(), "{now}");
    let status = scene.engine.said(&["inspect", "--format", "{{.State.Status}}", &scene.name]).unwrap();
    assert_ne!(status.trim(), "running");
    succeeded(&run(&scene, "resume", &[])).unwrap();
    scene.job("echo AS BEFORE").unwrap();
    let now = state(&scene);
    assert_eq!((&now["digest"], &now["container"]["id"]), (&first["digest"], &first["container"]["id"]));

    let mut updating = update();
    kill(Pid::from_raw(updating.id().cast_signed()), Signal::SIGKILL).unwrap();
    updating.wait().unwrap();
    succeeded(&run(&scene, "rollback", &["--now"])).unwrap();
    assert_eq!(state(&scene)["digest"], first["digest"]);
    scene.job("echo BACK").unwrap();
    assert_eq!((containers(&scene), scene.github.minted()), (vec![scene.name.clone()], 1));
    scene.down().unwrap();
}

#[test]
fn podman_an_image_whose_runner_is_not_what_its_hash_says_never_touches_the_one_that_works() {
    let scene = Scene::new("untouched").unwrap();
    scene.up(&[]).unwrap();
    let pid = scene.engine.pid(&scene.name).unwrap();
    let log = scene.job("echo; ls -d /nix/store/*-actions-runner-*/bin/Runner.Listener").unwrap();
    let listener = log.lines().find_map(|line| line.strip_prefix("/nix/")).unwrap_or_else(|| panic!("{log}"));
    let damage = [(&*format!("nix/{listener}"), &b"#!/bin/sh\nexit 0\n"[..])];
    publish(&scene, &layered(&demo_image(), scene.folder.path(), "damaged", &damage).unwrap().0);
    let job = at_work(&scene, 8);
    fails(&run(&scene, "update", &[]), OFFLINE, &["was not touched", "actions-runner"]);
    assert_eq!(scene.github.wait(job, SOON).unwrap().result, "Succeeded");
    assert_eq!(scene.engine.pid(&scene.name).unwrap(), pid);
    scene.down().unwrap();
}

#[test]
fn podman_an_update_that_is_killed_while_it_waits_leaves_a_runner_that_goes_on() {
    let scene = Scene::new("killed-update").unwrap();
    scene.up(&[]).unwrap();
    let first = state(&scene);
    publish(&scene, &salted(&demo_image(), scene.folder.path(), "next").unwrap().0);
    let job = at_work(&scene, 8);
    let mut updating = in_background(&scene, &["update", &scene.name]);
    let drains = || state(&scene)["runner"]["draining"].as_str().is_some_and(|how| !how.is_empty());
    scene.github.until(SOON, drains).unwrap();
    kill(Pid::from_raw(updating.id().cast_signed()), Signal::SIGKILL).unwrap();
    updating.wait().unwrap();
    assert_eq!(scene.github.wait(job, SOON).unwrap().result, "Succeeded");
    // Nobody renews what kept it from the next job.
    scene.github.until(Duration::from_secs(60), || state(&scene)["runner"]["phase"] == "listening").unwrap();
    scene.job("echo GOES ON").unwrap();
    assert_eq!(state(&scene)["container"]["id"], first["container"]["id"]);
    // And the next one does what the first did not.
    succeeded(&run(&scene, "update", &[])).unwrap();
    assert_ne!(state(&scene)["digest"], first["digest"]);
    scene.down().unwrap();
}

#[test]
fn podman_of_two_updates_at_once_one_changes_the_image_and_the_other_finds_nothing_to_do() {
    let scene = Scene::new("two-updates").unwrap();
    scene.up(&[]).unwrap();
    let first = state(&scene);
    publish(&scene, &salted(&demo_image(), scene.folder.path(), "next").unwrap().0);
    let job = at_work(&scene, 8);
    let both = [(); 2].map(|()| in_background(&scene, &["update", &scene.name]));
    assert_eq!(scene.github.wait(job, SOON).unwrap().result, "Succeeded");
    let both = both.map(|updating| updating.wait_with_output().unwrap());
    let tells = |word: &str| {
        let says = |output: &&Output| {
            [&output.stdout, &output.stderr].iter().any(|said| String::from_utf8_lossy(said).contains(word))
        };
        both.iter().filter(says).count()
    };
    for word in ["`vega-builder rollback", "runs the newest image already", "goes first"] {
        assert_eq!(tells(word), 1, "{word}: {both:?}");
    }
    let next = state(&scene);
    assert_ne!(next["digest"], first["digest"]);
    assert_eq!((containers(&scene), scene.github.minted()), (vec![scene.name.clone()], 1));
    // Back is the image before, and not the same one once more.
    succeeded(&run(&scene, "rollback", &[])).unwrap();
    assert_eq!(state(&scene)["digest"], first["digest"]);
    scene.job("echo BACK").unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_an_update_that_was_killed_between_two_names_is_put_right_and_runs_no_other_image() {
    let scene = Scene::new("two-names").unwrap();
    scene.up(&[]).unwrap();
    let first = state(&scene);
    let before = format!("{}.before", scene.name);
    scene.engine.said(&["stop", "--time", "5", &scene.name]).unwrap();
    scene.engine.said(&["rename", &scene.name, &before]).unwrap();
    succeeded(&run(&scene, "resume", &[])).unwrap();
    assert_eq!(state(&scene)["container"]["id"], first["container"]["id"]);
    // The other image's container had its name already, and the record had not.
    scene.engine.said(&["stop", "--time", "5", &scene.name]).unwrap();
    scene.engine.said(&["rename", &scene.name, &before]).unwrap();
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    scene.registry.push(&evil, IMAGE, "evil").unwrap();
    let image = format!("{}/{IMAGE}:evil", scene.registry.address);
    scene.engine.said(&["create", "--tls-verify=false", "--name", &scene.name, &image, "true"]).unwrap();
    succeeded(&run(&scene, "resume", &[])).unwrap();
    assert_eq!(state(&scene)["container"]["id"], first["container"]["id"]);
    scene.job("echo RIGHT").unwrap();
    assert_eq!((containers(&scene), scene.github.minted()), (vec![scene.name.clone()], 1));
    scene.down().unwrap();
}

#[test]
fn podman_an_image_that_no_runner_needs_is_removed_and_one_that_somebody_pulled_stays() {
    let scene = Scene::new("pruned").unwrap();
    // One that no other test has here: what is here already, nobody fetches, and nobody removes.
    publish(&scene, &salted(&demo_image(), scene.folder.path(), "first").unwrap().0);
    scene.up(&[]).unwrap();
    let first = state(&scene)["digest"].as_str().unwrap().to_owned();
    let pinned = |digest: &str| format!("{}/{IMAGE}@{digest}", scene.registry.address);
    let has = |image: &str| scene.engine.run(&["image", "inspect", image]).unwrap().status.success();
    // An engine finds it by its digest under another test's name, too: only its own name counts.
    let lists = |image: &str| {
        let names =
            scene.engine.run(&["image", "inspect", "--format", "{{json .RepoDigests}}", image]).unwrap();
        String::from_utf8_lossy(&names.stdout).contains(&format!("\"{image}\""))
    };
    // Somebody's own, of the same name.
    let own = scene
        .registry
        .push(&salted(&demo_image(), scene.folder.path(), "own").unwrap().0, IMAGE, "own")
        .unwrap();
    scene.engine.said(&["pull", "--quiet", "--tls-verify=false", &pinned(&own)]).unwrap();
    publish(&scene, &salted(&demo_image(), scene.folder.path(), "second").unwrap().0);
    scene.up(&[]).unwrap();
    assert!(lists(&pinned(&first)), "young images stay: a job may have to end first");
    let ledger = Path::new("/var/lib/vega-builder/.images.json");
    let text = fs::read_to_string(ledger).unwrap();
    let year = jiff::Timestamp::now().strftime("%Y").to_string();
    fs::write(ledger, text.replace(&format!("\"at\": \"{year}"), "\"at\": \"2001")).unwrap();
    let said = scene.up(&[]).unwrap();
    assert!(!lists(&pinned(&first)), "{said}");
    assert!(has(&pinned(&own)) && scene.job("true").is_ok());
    scene.engine.said(&["rmi", &pinned(&own)]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_slots_come_to_another_image_after_their_job_and_go_back() {
    let scene = Scene::new("slots-update").unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    publish(&scene, &salted(&demo_image(), scene.folder.path(), "next").unwrap().0);
    let job = slots.enqueue("echo AT WORK; sleep 6; cat /etc/salt || true; echo FINISHED");
    slots.until("the job does not begin", || scene.github.log_so_far(job).contains("AT WORK")).unwrap();
    let said = succeeded(&run(&scene, "update", &[])).unwrap();
    assert!(said.contains("`vega-builder rollback"), "{said}");
    let log = slots.result(job).unwrap();
    assert!(log.contains("FINISHED") && !log.contains("next"), "{log}");
    let salt = || slots.job("cat /etc/salt || echo NONE").unwrap();
    assert!(salt().contains("next"));
    succeeded(&run(&scene, "rollback", &[])).unwrap();
    assert!(salt().contains("NONE"));
    assert_eq!(scene.github.minted(), 0, "a job's configuration needs no token");
    slots.end().unwrap();
}
