//! A runner of an organisation: the jobs of its repositories, as far as its group lets them, and nobody else's.

use simulator::github::{Group, Job, Server};
use std::{process::Output, time::Duration};
use testbed::scene::{Scene, succeeded};

const ORGANIZATION: &str = "octo-org";
const STRANGERS: i32 = 10;
const PATIENCE: Duration = Duration::from_secs(60);
/// Whoever may read the repository can open a pull request.
const OPEN: &str =
    "on: pull_request\njobs:\n  open:\n    runs-on: [self-hosted, vega]\n    steps: [{run: make}]\n";

/// An organisation with private repositories beside the scene's own.
fn organization(name: &str) -> Scene {
    let scene = Scene::new(name).unwrap();
    for repository in [scene.repository.as_str(), "octo-org/library", "octo-org/tools"] {
        scene.github.change(repository, |hosted| hosted.private = true);
    }
    scene
}

fn up(scene: &Scene, more: &[&str]) -> Output {
    let mut arguments = vec!["up", "--organization", ORGANIZATION, "--name", &scene.name];
    arguments.extend(more);
    scene.run(&arguments).unwrap()
}

fn enqueue(github: &Server, repository: &str) -> u64 {
    github.enqueue(Job::push(repository, "job", &["self-hosted", "vega"], "echo \"HERE $GITHUB_REPOSITORY\""))
}

fn refused(output: &Output, code: i32, said: &[&str]) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    for words in said {
        assert!(complaint.contains(words), "{words}: {complaint}");
    }
}

#[test]
fn podman_a_runner_of_an_organisation_takes_the_jobs_of_its_repositories_and_needs_one_token() {
    let scene = organization("organization");
    succeeded(&up(&scene, &[])).unwrap();
    for repository in [scene.repository.as_str(), "octo-org/library"] {
        let outcome = scene.github.wait(enqueue(&scene.github, repository), PATIENCE).unwrap();
        assert!(outcome.log.contains(&format!("HERE {repository}")), "{outcome:?}");
    }
    assert_eq!(scene.github.runners()[0].repository, ORGANIZATION);

    // Nothing changes; not by a restart either.
    succeeded(&up(&scene, &[])).unwrap();
    scene.engine.said(&["stop", "--time", "10", &scene.name]).unwrap();
    succeeded(&up(&scene, &[])).unwrap();
    assert_eq!(scene.github.minted(), 1);
    let status = succeeded(&scene.run(&["status", ORGANIZATION, "--output", "json"]).unwrap()).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status[0]["repository"], ORGANIZATION);
    assert_eq!(status[0]["name"], scene.name.as_str());

    // Another of its repositories' runner of the same name is another runner.
    let other = scene.run(&["up", "octo-org/library", "--name", &scene.name]).unwrap();
    refused(&other, 2, &["octo-org already", "--name"]);
    scene.down().unwrap();
    assert!(scene.github.runners().is_empty());
}

#[test]
fn podman_the_doctor_of_an_organisation_says_of_all_of_its_repositories_which_jobs_will_come() {
    let scene = organization("org-doctor");
    scene.github.change("octo-org/library", |hosted| {
        let jobs = "on: push\njobs:\n  heavy: {runs-on: [self-hosted, vega]}\n  gpu: {runs-on: [self-hosted, gpu]}\n";
        hosted.file("main", ".github/workflows/ci.yml", jobs);
    });
    succeeded(&up(&scene, &[])).unwrap();
    let doctor = || {
        let output = scene.run(&["doctor", ORGANIZATION]).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = doctor();
    for words in [
        "cannot start a job here from octo-org's 3 repositories that may use this runner",
        "these 4 jobs of octo-org's 3 repositories that may use this runner will come here: octo-org/library: heavy \
         (.github/workflows/ci.yml:3)",
        "octo-org/library: gpu (.github/workflows/ci.yml:4) will never come here",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    scene.github.change("octo-org/tools", |hosted| {
        hosted.forks_run = true;
        hosted.forks_need_approval = false;
        hosted.file("main", ".github/workflows/open.yml", OPEN);
    });
    let said = doctor();
    let next = "next: `vega-builder lint octo-org/tools --all-branches --github-url http://127.0.0.1";
    assert!(said.contains(next), "{said}");
    scene.down().unwrap();
}

#[test]
fn podman_one_repository_that_strangers_reach_is_enough_to_refuse_its_organisation() {
    let scene = organization("org-strangers");
    scene.github.change("octo-org/tools", |hosted| {
        hosted.forks_run = true;
        hosted.forks_need_approval = false;
        hosted.file("main", ".github/workflows/open.yml", OPEN);
    });
    refused(&up(&scene, &[]), STRANGERS, &["octo-org/tools lets strangers", "open.yml"]);
    assert_eq!(scene.github.minted(), 0);
    assert!(!scene.engine.exists(&scene.name));

    // A public one does not reach a group that takes none; a group that takes them lets it in.
    scene.github.change("octo-org/tools", |hosted| hosted.private = false);
    let open = Group { public: true, ..Group::new("open") };
    let few = Group { selected: Some(vec!["library".to_owned()]), ..Group::new("few") };
    scene.github.groups(ORGANIZATION, vec![Group::new("Default"), open, few]);
    refused(&up(&scene, &["--runner-group", "open"]), STRANGERS, &["octo-org/tools"]);
    refused(&up(&scene, &["--runner-group", "fwe"]), 5, &["no group of runners called 'fwe'", "open, few"]);
    assert_eq!(scene.github.minted(), 0);

    succeeded(&up(&scene, &["--runner-group", "few"])).unwrap();
    let library = scene.github.wait(enqueue(&scene.github, "octo-org/library"), PATIENCE).unwrap();
    assert!(library.log.contains("HERE octo-org/library"), "{library:?}");
    let kept_out = enqueue(&scene.github, &scene.repository);
    assert!(scene.github.wait(kept_out, Duration::from_secs(3)).is_err(), "its group is not for {kept_out}");
    // Another group is another registration.
    succeeded(&up(&scene, &["--runner-group", "Default"])).unwrap();
    let now_let_in = scene.github.wait(kept_out, PATIENCE).unwrap();
    assert!(now_let_in.log.contains("HERE"), "{now_let_in:?}");
    assert_eq!(scene.github.minted(), 2);
    scene.down().unwrap();
}

#[test]
fn podman_a_fork_and_a_foreign_organisations_job_are_refused_by_the_hook_of_an_organisations_runner() {
    let scene = organization("org-hook");
    succeeded(&up(&scene, &[])).unwrap();
    let judge = |repository: &str| {
        let event = format!("{{\"repository\": {{\"full_name\": \"{repository}\"}}}}");
        let script = format!(
            "printf '%s' '{event}' >/tmp/event; \
             GITHUB_EVENT_NAME=push GITHUB_EVENT_PATH=/tmp/event GITHUB_REPOSITORY={repository} \
             /bin/vega-builder job-started; echo \"ended $?\""
        );
        // As the runner's own user, where no worker is above it.
        let output = scene.engine.run(&["exec", "--user", "1001", &scene.name, "sh", "-c", &script]).unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let fork = Job::push(&scene.repository, "attack", &["self-hosted", "vega"], "echo STEP RAN").from_fork();
    let outcome = scene.github.wait(scene.github.enqueue(fork), PATIENCE).unwrap();
    assert!(!outcome.log.contains("STEP RAN"), "{outcome:?}");
    assert!(outcome.log.contains("takes no 'pull_request' events"), "{outcome:?}");
    let told = judge("mallory/heavy");
    assert!(told.contains("takes the jobs of octo-org only"), "{told}");
    scene.down().unwrap();
}
