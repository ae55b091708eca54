//! GitHub's refusals and faults: one sentence with what to type, the right exit code, nothing half done.

use simulator::fault::{Fault, Kind};
use testbed::scene::{LOGIN, Scene};

const GITHUB: i32 = 5;
const MINT: &str = "registration-token";

/// `up` under a fault: what it complained of.
fn complaint(scene: &Scene, fault: Fault) -> String {
    scene.github.fault(fault);
    let output = scene.run(&["up", &scene.repository, "--wait", "30"]).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(GITHUB), "{complaint}");
    assert!(!complaint.contains(LOGIN), "the login is in an error: {complaint}");
    assert!(!scene.engine.exists(&scene.name), "a container was left: {complaint}");
    complaint
}

#[test]
fn podman_every_refusal_of_github_has_its_sentence_and_leaves_nothing() {
    let scene = Scene::new("github-errors").unwrap();
    for (status, headers, sentence) in [
        (401, vec![], "gh auth login"),
        (403, vec![("x-accepted-github-permissions", "administration=write")], "administration=write"),
        (
            403,
            vec![("x-github-sso", "required; url=https://github.com/orgs/x/sso")],
            "https://github.com/orgs/x/sso",
        ),
        (403, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4102444800")], "rate limit"),
        (404, vec![], "no such repository"),
        (409, vec![], "409"),
        (422, vec![], "422"),
        (429, vec![("retry-after", "120")], "in 2 minutes"),
        (500, vec![], "500"),
        (503, vec![], "503"),
    ] {
        let said = complaint(&scene, Fault::status("POST", MINT, status, &headers));
        assert!(said.contains(sentence), "{status}: {said}");
    }
    assert_eq!(scene.github.minted(), 0);
    // And none of it is in the way of the next try.
    scene.up(&[]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_lost_reply_does_not_mint_twice() {
    let scene = Scene::new("lost-reply").unwrap();
    let said = complaint(&scene, Fault::new("POST", MINT, Kind::DropReply));
    assert_eq!(scene.github.minted(), 1, "it happened once, and was not repeated: {said}");
    let mints = || scene.github.requests().iter().filter(|request| request.path.contains(MINT)).count();
    assert_eq!(mints(), 1);
    scene.up(&[]).unwrap();
    assert_eq!(mints(), 2);
    scene.down().unwrap();
}

#[test]
fn podman_the_authorisation_follows_no_redirect() {
    let scene = Scene::new("redirect").unwrap();
    let thief = simulator::github::Server::start().unwrap();
    let said = complaint(&scene, Fault::new("POST", MINT, Kind::Redirect(format!("{}/x", thief.url()))));
    assert!(said.contains("moved"), "{said}");
    assert!(thief.requests().is_empty(), "the thief was asked: {:?}", thief.requests());
}

#[test]
fn podman_a_repository_that_is_not_there_or_a_login_that_may_not_downloads_nothing() {
    let scene = Scene::new("no-right").unwrap();
    let run = |repository: &str, login: &str| {
        let mut up = scene.command(&["up", repository]);
        up.env("GH_TOKEN", login).output().unwrap()
    };
    scene.github.credential("ghp_readonly0123456789", false);
    for (repository, login, sentence) in [
        ("octo-org/none", LOGIN, "no such repository"),
        (scene.repository.as_str(), "ghp_readonly0123456789", "administration=write"),
        (scene.repository.as_str(), "ghp_wrong0123456789", "gh auth login"),
    ] {
        let output = run(repository, login);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(GITHUB), "{said}");
        assert!(said.contains(sentence), "{said}");
    }
    assert_eq!(scene.github.minted(), 0);
    assert!(!scene.engine.exists(&scene.name));
}

#[test]
fn podman_reads_are_repeated_over_a_short_outage() {
    let scene = Scene::new("outage").unwrap();
    scene.github.fault(Fault::status("GET", "/actions/runners", 502, &[]).times(2));
    scene.up(&[]).unwrap();
    scene.down().unwrap();
}
