//! Rule 5: nobody but who may write can start a job on this machine, or nothing is registered.

use std::process::Output;

use simulator::github::Hosted;
use testbed::scene::{Scene, succeeded};

const STRANGERS: i32 = 10;
const ACCEPT: &str = "--i-accept-strangers-code-on-this-machine";
const REACHED: &str = "on: pull_request\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n";

fn up(scene: &Scene) -> Output {
    scene.run(&["up", &scene.repository, "--wait", "30"]).unwrap()
}

fn changed(name: &str, change: impl FnOnce(&mut Hosted)) -> Scene {
    let scene = Scene::new(name).unwrap();
    scene.github.change(&scene.repository, change);
    scene
}

/// Refused for this reason, before anything was registered or made.
fn assert_refused(scene: &Scene, output: &Output, reason: &str) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(STRANGERS), "{complaint}");
    assert!(complaint.contains(reason), "{complaint}");
    assert!(!scene.engine.exists(&scene.name), "a container was created");
    assert_eq!(scene.github.minted(), 0, "a token was minted");
    assert!(scene.github.runners().is_empty());
}

#[test]
fn podman_a_pull_request_that_reaches_this_runner_is_refused_with_file_and_line() {
    let scene = changed("reached", |hosted| hosted.file("main", ".github/workflows/ci.yml", REACHED));
    let output = up(&scene);
    assert_refused(&scene, &output, "main:.github/workflows/ci.yml:4: anyone can start the job 'build'");
    assert_refused(&scene, &output, "[self-hosted, vega] is this runner");
}

#[test]
fn podman_a_pull_request_against_an_old_branch_is_refused() {
    let scene =
        changed("old-branch", |hosted| hosted.file("release/1#?", ".github/workflows/old.yaml", REACHED));
    assert_refused(&scene, &up(&scene), "release/1#?:.github/workflows/old.yaml:4");
}

#[test]
fn podman_a_label_behind_a_variable_that_names_this_runner_is_refused() {
    let scene = changed("variable", |hosted| {
        let text = REACHED.replace("[self-hosted, vega]", "${{ vars.RUNNER || 'ubuntu-latest' }}");
        hosted.file("main", ".github/workflows/ci.yml", &text);
        hosted.organization_variables.insert("RUNNER".to_owned(), "vega".to_owned());
    });
    assert_refused(&scene, &up(&scene), "anyone can start the job 'build'");
    // The repository's own variable hides the organisation's: then nothing reaches.
    scene.github.change(&scene.repository, |hosted| {
        hosted.variables.insert("runner".to_owned(), "ubuntu-latest".to_owned());
    });
    scene.up(&[]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_another_repositorys_workflow_that_names_this_runner_is_refused() {
    let scene = changed("called", |hosted| {
        let text = "on: issue_comment\njobs: {call: {uses: octo-org/tools/.github/workflows/x.yml@v1}}\n";
        hosted.file("main", ".github/workflows/ci.yml", text);
    });
    let output = up(&scene);
    assert_refused(&scene, &output, "anyone may be able to start the job 'call'");
    scene.github.change("octo-org/tools", |hosted| {
        let text = "on: workflow_call\njobs: {build: {runs-on: vega}}\n";
        hosted.file("v1", ".github/workflows/x.yml", text);
    });
    assert_refused(&scene, &up(&scene), "anyone can start the job 'build'");
    scene.github.change("octo-org/tools", |hosted| {
        let text = "on: workflow_call\njobs: {build: {runs-on: ubuntu-latest}}\n";
        hosted.file("v1", ".github/workflows/x.yml", text);
    });
    scene.up(&[]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_workflow_that_cannot_be_read_is_refused() {
    let scene = changed("unread", |hosted| {
        hosted.file("main", ".github/workflows/ci.yml", "on: push\njobs:\n\tx: 1\n");
    });
    assert_refused(&scene, &up(&scene), "main:.github/workflows/ci.yml:3 cannot be read");
    scene.github.change(&scene.repository, |hosted| {
        hosted.file("main", ".github/workflows/ci.yml", &format!("# {}\n{REACHED}", "x".repeat(1 << 20)));
    });
    assert_refused(&scene, &up(&scene), "larger than 1 MiB");
    scene.github.change(&scene.repository, |hosted| {
        hosted.file("main", ".github/workflows/ci.yml", "../../elsewhere.yml");
        hosted.links.push(".github/workflows/ci.yml".to_owned());
    });
    assert_refused(&scene, &up(&scene), "symbolic link");
}

#[test]
fn podman_a_public_repository_whose_forks_run_without_approval_is_refused() {
    let scene = changed("approval", |hosted| "first_time_contributors".clone_into(&mut hosted.approval));
    assert_refused(&scene, &up(&scene), "whoever had one pull request merged here can run any job");
    assert_refused(&scene, &up(&scene), "approval_policy=all_external_contributors");
}

#[test]
fn podman_a_private_repository_is_refused_only_when_forks_run_without_approval() {
    let scene = changed("private", |hosted| {
        hosted.private = true;
        hosted.forks_run = true;
        hosted.forks_need_approval = false;
    });
    assert_refused(&scene, &up(&scene), "whoever may read this private repository can run any job");
    // Where no fork's workflow runs, a pull request is by somebody who may write.
    scene.github.change(&scene.repository, |hosted| {
        hosted.forks_run = false;
        hosted.file("main", ".github/workflows/ci.yml", REACHED);
    });
    scene.up(&[]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_an_ignore_in_the_repository_opens_nothing() {
    let scene = changed("ignore", |hosted| {
        hosted.file("main", ".github/workflows/ci.yml", REACHED);
        let ignore = "[[ignore]]\nrule = \"stranger-reaches-runner\"\nreason = \"trust me\"\n";
        hosted.file("main", ".vega-lint.toml", ignore);
    });
    assert_refused(&scene, &up(&scene), "anyone can start the job 'build'");
}

#[test]
fn podman_what_was_accepted_is_shown_for_ever() {
    let scene = changed("accepted", |hosted| hosted.file("main", ".github/workflows/ci.yml", REACHED));
    scene.up(&[ACCEPT]).unwrap();
    let status = || succeeded(&scene.run(&["status", &scene.name]).unwrap()).unwrap();
    assert!(
        status().contains("STRANGERS") && status().contains("ci.yml:4: anyone can start the job 'build'")
    );
    // Without the flag the next change is refused, and the runner stays as it is.
    let pid = scene.engine.pid(&scene.name).unwrap();
    assert_eq!(up(&scene).status.code(), Some(STRANGERS));
    assert_eq!(scene.engine.pid(&scene.name).unwrap(), pid);
    // Mended it is remembered all the same: jobs of that time may have left something behind.
    scene.github.change(&scene.repository, |hosted| {
        hosted.file("main", ".github/workflows/ci.yml", &REACHED.replace("pull_request", "push"));
    });
    scene.up(&[]).unwrap();
    assert!(status().contains("STRANGERS"), "{}", status());
    let object = succeeded(&scene.run(&["status", &scene.name, "--output", "json"]).unwrap()).unwrap();
    assert!(object.contains("accepts_strangers_code"));
    scene.down().unwrap();
}

#[test]
fn podman_a_new_token_is_refused_when_strangers_can_reach_the_runner_by_now() {
    let scene = Scene::new("register-reached").unwrap();
    scene.up(&[]).unwrap();
    scene.github.forget(&scene.name);
    scene.github.change(&scene.repository, |hosted| hosted.file("main", ".github/workflows/ci.yml", REACHED));
    scene.engine.run(&["stop", &scene.name]).unwrap();
    let minted = scene.github.minted();
    let output = scene.run(&["register", &scene.name]).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(STRANGERS), "{complaint}");
    assert_eq!(scene.github.minted(), minted, "a token was minted");
    // What was accepted once opens nothing later: it is said anew, and shown from then on.
    succeeded(&scene.run(&["register", &scene.name, ACCEPT]).unwrap()).unwrap();
    assert_eq!(scene.github.minted(), minted + 1);
    let status = scene.run(&["status", &scene.name]).unwrap();
    assert!(String::from_utf8_lossy(&status.stdout).contains("STRANGERS"));
    assert_eq!(scene.run(&["register", &scene.name]).unwrap().status.code(), Some(STRANGERS));
    scene.down().unwrap();
}
