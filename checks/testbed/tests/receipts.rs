//! What was verified is kept, and verified again before a start: with the registry or without it, never without a
//! signature.

use std::{fs, path::PathBuf, process::Output};

use serde_json::{Value, json};
use simulator::sigstore::Identity;
use testbed::{
    layout::{demo_image, tiny_image},
    salted::salted,
    scene::{IMAGE, Scene},
};

const NOT_TRUSTED: i32 = 3;
const REGISTRY: i32 = 4;

fn receipt(scene: &Scene) -> PathBuf {
    PathBuf::from("/var/lib/vega-builder").join(&scene.name).join("receipt.json")
}

fn change(scene: &Scene, change: impl FnOnce(&mut Value)) {
    let mut kept: Value = serde_json::from_slice(&fs::read(receipt(scene)).unwrap()).unwrap();
    change(&mut kept);
    fs::write(receipt(scene), kept.to_string()).unwrap();
}

fn prepare(scene: &Scene) -> Output {
    scene.run(&["prepare", &scene.name]).unwrap()
}

fn assert_prepared(scene: &Scene, word: &str) {
    let output = prepare(scene);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains(word), "{said}");
}

fn assert_refused(output: &Output, code: i32, word: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(word), "{said}");
}

#[test]
fn podman_a_start_is_prepared_with_the_registry_and_without_it() {
    let mut scene = Scene::new("prepared").unwrap();
    scene.sign_platforms(&Identity::vega()).unwrap();
    scene.up(&[]).unwrap();
    let status = String::from_utf8(scene.run(&["status", &scene.name]).unwrap().stdout).unwrap();
    assert!(status.contains("trusted by   Vega (built in)"), "{status}");
    assert_prepared(&scene, "with the registry's signatures");
    scene.registry.stop();
    assert_prepared(&scene, "with the signature that was kept (127.0.0.1:");
    // Whoever can write there can still not make a signature.
    let good = fs::read_to_string(receipt(&scene)).unwrap();
    change(&scene, |kept| kept["vouchers"] = json!({ "top": [], "platform": [] }));
    assert_refused(&prepare(&scene), NOT_TRUSTED, "is not signed");
    fs::write(receipt(&scene), &good).unwrap();
    change(&scene, |kept| {
        let bundle =
            kept["vouchers"]["top"][0]["text"].as_str().unwrap().replace("\"sig\":\"M", "\"sig\":\"N");
        kept["vouchers"]["top"][0]["text"] = bundle.into();
    });
    assert_refused(&prepare(&scene), NOT_TRUSTED, "is not signed by whom you trust");
    fs::write(receipt(&scene), &good).unwrap();
    change(&scene, |kept| kept["top"] = format!("{} ", kept["top"].as_str().unwrap()).into());
    assert_refused(&prepare(&scene), REGISTRY, "cannot be reached");
    fs::remove_file(receipt(&scene)).unwrap();
    assert_refused(&prepare(&scene), REGISTRY, "cannot be reached");
    fs::write(receipt(&scene), &good).unwrap();
    assert_prepared(&scene, "with the signature that was kept");
    scene.down().unwrap();
    assert!(!receipt(&scene).exists());
}

#[test]
fn podman_a_swapped_container_is_not_prepared() {
    let scene = Scene::new("swapped").unwrap();
    scene.up(&[]).unwrap();
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    let digest = scene.registry.push(&evil, IMAGE, "evil").unwrap();
    let pinned = format!("{}/{IMAGE}@{digest}", scene.registry.address);
    scene.engine.said(&["pull", "--tls-verify=false", "--quiet", &pinned]).unwrap();
    scene.engine.said(&["rm", "--force", "--time", "1", &scene.name]).unwrap();
    scene.engine.said(&["create", "--name", &scene.name, &pinned]).unwrap();
    assert_refused(&prepare(&scene), NOT_TRUSTED, "");
    scene.engine.said(&["rm", "--force", &scene.name]).unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_policy_that_was_tightened_since_is_asked_before_the_next_start() {
    let scene = Scene::new("tightened").unwrap();
    let policy = scene.folder.path().join("trust.toml");
    fs::write(&policy, "[image]\nminimum-version = \"0.18.0\"\n").unwrap();
    scene.up(&["--trust-policy", policy.to_str().unwrap()]).unwrap();
    assert_prepared(&scene, "signed by");
    fs::write(&policy, "[image]\nminimum-version = \"0.19.0\"\n").unwrap();
    assert_refused(&prepare(&scene), NOT_TRUSTED, "the policy asks for 0.19.0 or newer");
    fs::write(&policy, "[provenance]\nrequired = true\n").unwrap();
    assert_refused(&prepare(&scene), NOT_TRUSTED, "has no provenance");
    scene.down().unwrap();
}

#[test]
fn podman_a_tag_moved_back_to_an_older_signed_image_is_refused_unless_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (old, _) = salted(&demo_image(), folder.path(), "old").unwrap();
    let scene = Scene::unsigned("moved-back", &old, "podman").unwrap();
    let version = |tag: &str| {
        Identity::github(
            "Ad-Astra-Computing/vega-agent",
            "publish-builder-image.yml",
            &format!("refs/tags/{tag}"),
        )
    };
    scene.sign(&version("v0.17.0")).unwrap();
    let old_digest = scene.digest.clone();
    let new_digest = scene.registry.push(&demo_image(), IMAGE, "latest").unwrap();
    let scene = Scene { digest: new_digest, ..scene };
    scene.sign(&version("v0.18.0")).unwrap();
    scene.up(&[]).unwrap();
    let id = scene.engine.fact(&scene.name, "/Id").unwrap();
    // The attack: the same tag, an older image, as well signed as ever.
    scene.registry.push(&old, IMAGE, "latest").unwrap();
    let refused = scene.run(&["up", &scene.repository]).unwrap();
    assert_refused(&refused, NOT_TRUSTED, "is version 0.17.0");
    assert_refused(&refused, NOT_TRUSTED, "add --allow-rollback");
    assert_eq!(scene.engine.fact(&scene.name, "/Id").unwrap(), id, "the newer one still runs");
    scene.up(&["--allow-rollback"]).unwrap();
    let record = fs::read_to_string(receipt(&scene)).unwrap();
    assert!(record.contains(&old_digest), "the older one runs when it is asked for");
    scene.down().unwrap();
}
