//! Our image run by hand, with its environment contract alone: tokens as variables, sandbox modes.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use simulator::github::Job;
use testbed::{
    by_hand::{jit, mint, remove, run, run_alone, run_with, until_said},
    scene::Scene,
    scripts::sandboxed_build,
    search::Search,
};

#[test]
fn podman_a_token_in_a_variable_is_in_no_process_once_the_runner_listens() {
    let scene = Scene::new("variable").unwrap();
    let token = mint(&scene);
    run(&scene, &[&format!("GITHUB_RUNNER_TOKEN={token}"), "VEGA_NIX_SANDBOX=false"]);
    scene.until_online(true).unwrap();
    let mut search = Search::new(&token);
    search.processes();
    assert!(search.seen.is_empty(), "{:?}", search.seen);
    remove(&scene);
}

#[test]
fn podman_up_pushes_no_other_machines_runner_out_of_its_registration() {
    let scene = Scene::new("elsewhere").unwrap();
    run(&scene, &[&format!("GITHUB_RUNNER_TOKEN={}", mint(&scene)), "VEGA_NIX_SANDBOX=false"]);
    scene.until_online(true).unwrap();
    // Nobody here has a record of it.
    let up = scene.run(&["up", &scene.repository]).unwrap();
    let said = String::from_utf8_lossy(&up.stderr);
    assert!(said.contains("another machine's runner of the name") && said.contains("--name"), "{said}");
    assert!(scene.github.is_online(&scene.name));
    remove(&scene);
}

#[test]
fn podman_a_personal_access_token_mints_inside_and_is_in_no_process_afterwards() {
    // One of its own: other tests' programs carry the common login.
    const OWN: &str = "ghp_apersonaltokenthatisused0123456789";
    let scene = Scene::new("personal").unwrap();
    scene.github.credential(OWN, true);
    run(&scene, &[&format!("GITHUB_PAT={OWN}"), "VEGA_NIX_SANDBOX=false"]);
    scene.until_online(true).unwrap();
    assert_eq!(scene.github.minted(), 1);
    let mut search = Search::new(OWN);
    search.processes();
    assert!(search.seen.is_empty(), "{:?}", search.seen);
    assert!(scene.engine.logs(&scene.name).contains("trusted local use only"));
    remove(&scene);
}

#[test]
fn podman_donating_is_reserved_and_says_so_with_64() {
    let scene = Scene::new("donate").unwrap();
    run(&scene, &["VEGA_MODE=donate"]);
    let code = scene.engine.said(&["wait", &scene.name]).unwrap();
    assert_eq!(code, "64");
    assert!(scene.engine.logs(&scene.name).contains("reserved"));
    remove(&scene);
}

#[test]
fn podman_a_sandbox_that_cannot_be_is_refused_when_required_and_warned_of_when_not() {
    // Without the options that Nix's sandbox needs, as a person who runs the image by hand would.
    let scene = Scene::new("no-sandbox").unwrap();
    run(&scene, &["VEGA_NIX_SANDBOX=true"]);
    assert_eq!(scene.engine.said(&["wait", &scene.name]).unwrap(), "1");
    assert!(
        scene.engine.logs(&scene.name).contains("cannot build in its sandbox"),
        "{}",
        scene.engine.logs(&scene.name)
    );
    assert!(scene.github.runners().is_empty(), "broken is offline");
    remove(&scene);

    let token = mint(&scene);
    run(&scene, &[&format!("GITHUB_RUNNER_TOKEN={token}"), "VEGA_NIX_SANDBOX=auto"]);
    scene.until_online(true).unwrap();
    assert!(scene.engine.logs(&scene.name).contains("WARNING"), "{}", scene.engine.logs(&scene.name));
    // What the warning says: an ordinary build runs, without the sandbox.
    let log = scene.job(&sandboxed_build("bare")).unwrap();
    assert!(log.contains("sandbox: bare"), "{log}");
    remove(&scene);
}

/// As Actions Runner Controller does it: the image, its variable, and a command of theirs.
#[test]
fn podman_a_just_in_time_configuration_is_one_job_and_in_no_process_and_no_file_that_the_job_reads() {
    let scene = Scene::new("jit").unwrap();
    let config = jit(&scene, "arc-x7");
    run_alone(
        &scene,
        &[&format!("ACTIONS_RUNNER_INPUT_JITCONFIG={config}"), "VEGA_NIX_SANDBOX=false"],
        &["--entrypoint=/home/runner/run.sh"],
    );
    scene.github.until(Duration::from_secs(60), || scene.github.is_online("arc-x7")).unwrap();
    let mut search = Search::new(&config);
    search.processes();
    assert!(search.seen.is_empty(), "{:?}", search.seen);
    // A job that puts its own program there has it run by nobody.
    let script = "ls /home/runner/run.sh && echo THERE; cat /proc/1/environ && echo READ; \
                  cat /home/runner/actions-runner/.vega/.credentials_rsaparams && echo KEPT; \
                  echo 'touch /evil' >/home/runner/run.sh; chmod +x /home/runner/run.sh; echo DONE";
    let job = Job::push(&scene.repository, "job", &["self-hosted", "vega"], script);
    let outcome = scene.github.wait(scene.github.enqueue(job), Duration::from_secs(60)).unwrap();
    assert_eq!(outcome.runner, "arc-x7");
    for word in ["THERE", "READ", "KEPT"] {
        assert!(!outcome.log.contains(word) && outcome.log.contains("DONE"), "{}", outcome.log);
    }
    assert_eq!(scene.engine.said(&["wait", &scene.name]).unwrap(), "0");
    // GitHub's program calls it an error that it may not remove its registration; nobody is to look for one.
    let said = scene.engine.logs(&scene.name);
    let (told, explained) =
        (said.find("An error occurred"), said.find("its registration is read-only to it"));
    assert!(told.is_some() && told < explained, "{said}");
    assert!(scene.github.runners().is_empty(), "it was for one job");
    // Started again by that path, the container has nothing of the job's to run as root.
    let again = scene.engine.run(&["start", &scene.name]).unwrap();
    assert!(!again.status.success(), "{again:?}");
    remove(&scene);
}

#[test]
fn podman_a_just_in_time_configuration_for_another_runner_is_refused_and_nobody_listens() {
    let scene = Scene::new("jit-other").unwrap();
    let handover = scene.folder.path().join("handover");
    std::fs::create_dir(&handover).unwrap();
    let file = "VEGA_JITCONFIG_FILE=/run/vega-builder/handover/jit-config";
    let variables = [file, "VEGA_RUNNER_EPHEMERAL=true", "VEGA_NIX_SANDBOX=false"];
    run_with(&scene, &variables, &[&format!("--volume={}:/run/vega-builder/handover", handover.display())]);
    let waits =
        || std::fs::read_to_string(handover.join("state.json")).is_ok_and(|state| state.contains("\"warm\""));
    scene.github.until(Duration::from_secs(60), waits).unwrap();
    // Whole at once, as the host does it.
    std::fs::write(handover.join("beside"), jit(&scene, "somebody-else")).unwrap();
    std::fs::set_permissions(handover.join("beside"), PermissionsExt::from_mode(0o400)).unwrap();
    std::fs::rename(handover.join("beside"), handover.join("jit-config")).unwrap();
    until_said(
        &scene,
        "the just-in-time configuration is for the runner 'somebody-else', and not for vega-jit-other",
    );
    assert!(!handover.join("jit-config").exists(), "it was taken, and is of use to nobody");
    assert!(!scene.github.is_online("somebody-else"));
    remove(&scene);
}

#[test]
fn podman_a_just_in_time_configuration_with_a_file_of_its_own_is_refused() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let scene = Scene::new("jit-evil").unwrap();
    let config = jit(&scene, "arc-x8");
    let mut files: serde_json::Value = serde_json::from_slice(&STANDARD.decode(&config).unwrap()).unwrap();
    files["../../../etc/vega-builder/job-started.sh"] = STANDARD.encode("#!/bin/sh\nexit 0\n").into();
    let config = STANDARD.encode(files.to_string());
    run_alone(&scene, &[&format!("ACTIONS_RUNNER_INPUT_JITCONFIG={config}"), "VEGA_NIX_SANDBOX=false"], &[]);
    assert_eq!(scene.engine.said(&["wait", &scene.name]).unwrap(), "1");
    assert!(
        scene.engine.logs(&scene.name).contains("has a file of its own"),
        "{}",
        scene.engine.logs(&scene.name)
    );
    remove(&scene);
}
