//! Images that must not run: refused, the container never created, no token minted.

use std::process::Output;

use simulator::sigstore::{Authority, Identity, attach};
use testbed::{
    cosign::{By, Cosign},
    layout::{demo_image, tiny_image},
    salted::salted,
    scene::{IMAGE, Scene},
};

const NOT_TRUSTED: i32 = 3;
const REGISTRY: i32 = 4;
const ENGINE: i32 = 6;

fn up(scene: &Scene) -> Output {
    scene.run(&["up", &scene.repository, "--wait", "30"]).unwrap()
}

/// Refused with one of these exit codes and this reason; nothing was made.
fn assert_refused(scene: &Scene, output: &Output, codes: &[i32], reason: &str) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(codes.contains(&output.status.code().unwrap_or(-1)), "{:?}: {complaint}", output.status);
    assert!(complaint.contains(reason), "{complaint}");
    assert!(!scene.engine.exists(&scene.name), "a container was created");
    assert_eq!(scene.github.minted(), 0, "a token was minted");
    assert!(scene.github.runners().is_empty());
}

#[test]
fn podman_an_unsigned_image_is_refused() {
    let scene = Scene::unsigned("unsigned", &demo_image(), "podman").unwrap();
    assert_refused(&scene, &up(&scene), &[NOT_TRUSTED], "is not signed");
}

#[test]
fn podman_a_moved_tag_is_refused() {
    let scene = Scene::new("moved-tag").unwrap();
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    scene.registry.push(&evil, IMAGE, "latest").unwrap();
    assert_refused(&scene, &up(&scene), &[NOT_TRUSTED], "is not signed");
}

#[test]
fn podman_a_moved_tag_with_the_old_image_s_signature_is_refused() {
    let scene = Scene::new("moved-signature").unwrap();
    let good = scene.authority.sign(&scene.digest, &Identity::vega()).unwrap();
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    let digest = scene.registry.push(&evil, IMAGE, "latest").unwrap();
    attach(&scene.registry.address, IMAGE, &digest, &good).unwrap();
    assert_refused(&scene, &up(&scene), &[NOT_TRUSTED], "");
}

#[test]
fn podman_a_tag_that_moves_under_a_running_runner_leaves_it_alone() {
    let scene = Scene::new("moved-later").unwrap();
    scene.up(&[]).unwrap();
    let pid = scene.engine.pid(&scene.name).unwrap();
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    scene.registry.push(&evil, IMAGE, "latest").unwrap();
    assert_eq!(up(&scene).status.code(), Some(NOT_TRUSTED));
    assert_eq!(scene.engine.pid(&scene.name).unwrap(), pid, "the good one still runs");
    scene.down().unwrap();
}

#[test]
fn podman_a_signature_by_another_workflow_repository_or_branch_is_refused() {
    let scene = Scene::unsigned("other-signer", &demo_image(), "podman").unwrap();
    for (repository, workflow, reference) in [
        ("Ad-Astra-Computing/vega-agent", "test.yml", "refs/tags/v1"),
        ("mallory/vega-agent", "publish-builder-image.yml", "refs/tags/v1"),
        ("Ad-Astra-Computing/vega-agent", "publish-builder-image.yml", "refs/heads/main"),
    ] {
        scene.sign(&Identity::github(repository, workflow, reference)).unwrap();
    }
    assert_refused(&scene, &up(&scene), &[NOT_TRUSTED], "it is signed by https://github.com/");
}

#[test]
fn podman_a_signature_vouched_for_by_another_issuer_is_refused() {
    let scene = Scene::unsigned("other-issuer", &demo_image(), "podman").unwrap();
    scene.sign(&Identity { issuer: "https://token.example.com".to_owned(), ..Identity::vega() }).unwrap();
    assert_refused(&scene, &up(&scene), &[NOT_TRUSTED], "vouched for by https://token.example.com");
}

#[test]
fn podman_a_signature_of_another_sigstore_is_refused() {
    let scene = Scene::unsigned("other-root", &demo_image(), "podman").unwrap();
    let bundle = Authority::new().unwrap().sign(&scene.digest, &Identity::vega()).unwrap();
    attach(&scene.registry.address, IMAGE, &scene.digest, &bundle).unwrap();
    assert_refused(&scene, &up(&scene), &[NOT_TRUSTED], "names a log that the trusted root does not know");
}

#[test]
fn podman_a_truncated_blob_is_refused() {
    // The manifest that names the layer is whole, and signed; no engine holds the layer already.
    let folder = tempfile::tempdir().unwrap();
    let (image, layer) = salted(&demo_image(), folder.path(), "truncated").unwrap();
    let scene = Scene::unsigned("truncated", &image, "podman").unwrap();
    scene.sign(&Identity::vega()).unwrap();
    scene.registry.truncate_blob(&layer).unwrap();
    assert_refused(&scene, &up(&scene), &[ENGINE, REGISTRY, NOT_TRUSTED], "");
}

#[test]
fn podman_a_truncated_manifest_is_refused() {
    let scene = Scene::new("truncated-manifest").unwrap();
    scene.registry.truncate_blob(&scene.digest).unwrap();
    assert_refused(&scene, &up(&scene), &[REGISTRY, NOT_TRUSTED], "");
}

#[test]
fn podman_a_locally_retagged_image_is_not_run() {
    let scene = Scene::new("retagged").unwrap();
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    let digest = scene.registry.push(&evil, IMAGE, "evil").unwrap();
    let pinned = format!("{}/{IMAGE}@{digest}", scene.registry.address);
    scene.engine.said(&["pull", "--tls-verify=false", "--quiet", &pinned]).unwrap();
    // Under every name by which somebody could take it for the good one.
    let good = format!("{}/{IMAGE}", scene.registry.address);
    for name in [format!("{good}:latest"), "localhost/vega-builder:verified".to_owned()] {
        scene.engine.said(&["tag", &pinned, &name]).unwrap();
    }
    scene.up(&[]).unwrap();
    let runs = scene.engine.fact(&scene.name, "/Image").unwrap();
    let evil_id = scene.engine.said(&["image", "inspect", "--format", "{{.Id}}", &pinned]).unwrap();
    assert_ne!(runs.as_str(), Some(evil_id.as_str()));
    scene.down().unwrap();
}

#[test]
fn podman_an_image_that_the_policy_refuses_never_becomes_a_container() {
    let scene = Scene::new("policy").unwrap();
    let policy = scene.folder.path().join("trust.toml");
    for (rules, reason) in [
        ("[image]\nminimum-version = \"99.0.0\"\n", "the policy asks for 99.0.0 or newer"),
        ("[image]\nmax-age = \"1s\"\n", "the policy's max-age"),
        ("[provenance]\nrequired = true\n", "has no provenance"),
        ("[[publisher]]\nname = \"me\"\nidentity = \"https://github.com/me/.*\"\n", "it is signed by"),
    ] {
        std::fs::write(&policy, rules).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let up = ["up", scene.repository.as_str(), "--trust-policy", policy.to_str().unwrap()];
        assert_refused(&scene, &scene.run(&up).unwrap(), &[NOT_TRUSTED], reason);
    }
}

#[test]
fn podman_another_images_signature_at_this_ones_sig_tag_is_refused() {
    let mut scene = Scene::unsigned("sig-tag", &demo_image(), "podman").unwrap();
    let other = tiny_image(scene.folder.path(), "other").unwrap();
    let other = scene.registry.push(&other, IMAGE, "other").unwrap();
    scene.digest.clone_from(&other);
    let output = Cosign::Three.sign_simply(&scene, By::Workflow(&Identity::vega())).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scene.digest = scene.registry.digest(IMAGE, "latest").unwrap();
    let tag = |digest: &str| format!("{}.sig", digest.replace(':', "-"));
    scene.registry.tag(IMAGE, &tag(&other), &tag(&scene.digest)).unwrap();
    assert_refused(&scene, &up(&scene), &[NOT_TRUSTED], "a signature is for another image");
}
