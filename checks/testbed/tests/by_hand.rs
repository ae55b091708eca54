//! Our image run by hand, with its environment contract alone: tokens as variables, sandbox modes.

use std::time::Duration;

use testbed::{
    scene::{IMAGE, LOGIN, Scene},
    search::Search,
};

/// `podman run` of the image with these variables beside the least that it needs; no handover folder.
fn run(scene: &Scene, variables: &[String]) {
    let (owner, repository) = scene.repository.split_once('/').unwrap();
    let mut arguments: Vec<String> =
        ["run", "--detach", "--network=host", "--memory=1g", "--pids-limit=256"].map(str::to_owned).to_vec();
    arguments.push("--tls-verify=false".to_owned());
    arguments.push(format!("--name={}", scene.name));
    for variable in [
        format!("GITHUB_OWNER={owner}"),
        format!("GITHUB_REPOSITORY={repository}"),
        format!("GITHUB_RUNNER_NAME={}", scene.name),
        format!("VEGA_GITHUB_URL={}", scene.github.url()),
    ]
    .iter()
    .chain(variables)
    {
        arguments.push(format!("--env={variable}"));
    }
    arguments.push(format!("{}/{IMAGE}@{}", scene.registry.address, scene.digest));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    scene.engine.said(&arguments).unwrap();
}

fn remove(scene: &Scene) {
    scene
        .github
        .until(Duration::from_secs(20), || {
            scene
                .engine
                .run(&["rm", "--force", "--time", "5", &scene.name])
                .is_ok_and(|output| output.status.success())
                || !scene.engine.exists(&scene.name)
        })
        .unwrap();
}

#[test]
fn podman_a_token_in_a_variable_is_in_no_process_once_the_runner_listens() {
    let scene = Scene::new("variable").unwrap();
    let token = mint(&scene);
    run(&scene, &[format!("GITHUB_RUNNER_TOKEN={token}"), "VEGA_NIX_SANDBOX=false".to_owned()]);
    scene.until_online(true).unwrap();
    let mut search = Search::new(&token);
    search.processes();
    assert!(search.seen.is_empty(), "{:?}", search.seen);
    remove(&scene);
}

#[test]
fn podman_a_personal_access_token_mints_inside_and_is_in_no_process_afterwards() {
    let scene = Scene::new("personal").unwrap();
    run(&scene, &[format!("GITHUB_PAT={LOGIN}"), "VEGA_NIX_SANDBOX=false".to_owned()]);
    scene.until_online(true).unwrap();
    assert_eq!(scene.github.minted(), 1);
    let mut search = Search::new(LOGIN);
    search.processes();
    assert!(search.seen.is_empty(), "{:?}", search.seen);
    assert!(scene.engine.logs(&scene.name).contains("trusted local use only"));
    remove(&scene);
}

#[test]
fn podman_donating_is_reserved_and_says_so_with_64() {
    let scene = Scene::new("donate").unwrap();
    run(&scene, &["VEGA_MODE=donate".to_owned()]);
    let code = scene.engine.said(&["wait", &scene.name]).unwrap();
    assert_eq!(code, "64");
    assert!(scene.engine.logs(&scene.name).contains("reserved"));
    remove(&scene);
}

#[test]
fn podman_a_sandbox_that_cannot_be_is_refused_when_required_and_warned_of_when_not() {
    // Without the options that Nix's sandbox needs, as a person who runs the image by hand would.
    let scene = Scene::new("no-sandbox").unwrap();
    run(&scene, &["VEGA_NIX_SANDBOX=true".to_owned()]);
    assert_eq!(scene.engine.said(&["wait", &scene.name]).unwrap(), "1");
    assert!(
        scene.engine.logs(&scene.name).contains("cannot build in its sandbox"),
        "{}",
        scene.engine.logs(&scene.name)
    );
    assert!(scene.github.runners().is_empty(), "broken is offline");
    remove(&scene);

    let token = mint(&scene);
    run(&scene, &[format!("GITHUB_RUNNER_TOKEN={token}"), "VEGA_NIX_SANDBOX=auto".to_owned()]);
    scene.until_online(true).unwrap();
    assert!(scene.engine.logs(&scene.name).contains("WARNING"), "{}", scene.engine.logs(&scene.name));
    remove(&scene);
}

fn mint(scene: &Scene) -> String {
    let url = format!(
        "{}/api/v3/repos/{}/actions/runners/registration-token",
        scene.github.url(),
        scene.repository
    );
    let output = std::process::Command::new("curl")
        .args(["-fsS", "-X", "POST", "-H", &format!("Authorization: Bearer {LOGIN}"), &url])
        .output()
        .unwrap();
    let reply: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    reply["token"].as_str().unwrap().to_owned()
}
