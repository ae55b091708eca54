//! What was verified is kept, and verified again before a start: with the registry or without it, never without a
//! signature.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::PathBuf,
    process::Output,
};

use serde_json::{Value, json};
use simulator::sigstore::{Identity, Tuf, attach};
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
fn podman_preparing_again_and_again_adds_nothing_to_the_receipt() {
    let scene = Scene::new("again").unwrap();
    let (kind, predicate) = ("https://slsa.dev/provenance/v1", json!({}));
    let provenance = scene.authority.attest(&scene.digest, &Identity::vega(), kind, predicate).unwrap();
    attach(&scene.registry.address, IMAGE, &scene.digest, &provenance).unwrap();
    scene.up(&[]).unwrap();
    let read = || serde_json::from_slice::<Value>(&fs::read(receipt(&scene)).unwrap()).unwrap();
    let kept = read()["vouchers"].take();
    assert_eq!(kept["top"].as_array().unwrap().len(), 2, "the signature and the provenance");
    for _ in 0..2 {
        assert_prepared(&scene, "with the registry's signatures");
        assert_eq!(read()["vouchers"], kept);
        assert_eq!(read()["evidence"]["provenance"].as_array().unwrap().len(), 1);
    }
    scene.down().unwrap();
}

#[test]
fn podman_a_swapped_container_is_not_prepared() {
    let scene = Scene::new("swapped").unwrap();
    scene.up(&[]).unwrap();
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    let digest = scene.registry.push(&evil, IMAGE, "evil").unwrap();
    let pinned = format!("{}/{IMAGE}@{digest}", scene.registry.address);
    scene.engine.said(&["pull", "--tls-verify=false", "--quiet", &pinned]).unwrap();
    // podman's own cleanup of what was stopped may still be at work.
    let gone = || {
        scene.engine.run(&["rm", "--force", "--time", "1", &scene.name]).is_ok()
            && !scene.engine.exists(&scene.name)
    };
    scene.github.until(std::time::Duration::from_secs(20), gone).unwrap();
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
    let mut scene = Scene::unsigned("moved-back", &old, "podman").unwrap();
    let version = |tag: &str| {
        Identity::github(
            "Ad-Astra-Computing/vega-agent",
            "publish-builder-image.yml",
            &format!("refs/tags/{tag}"),
        )
    };
    scene.sign(&version("v0.17.0")).unwrap();
    let old_digest = scene.digest.clone();
    scene.digest = scene.registry.push(&demo_image(), IMAGE, "latest").unwrap();
    scene.sign(&version("v0.18.0")).unwrap();
    scene.up(&[]).unwrap();
    let id = scene.engine.fact(&scene.name, "/Id").unwrap();
    // The attack: the same tag, an older image, as well signed as ever.
    scene.registry.push(&old, IMAGE, "latest").unwrap();
    let refused = scene.run(&["up", &scene.repository]).unwrap();
    assert_refused(&refused, NOT_TRUSTED, "is version 0.17.0");
    // The same name, written otherwise.
    let untagged = scene.image().trim_end_matches(":latest").to_owned();
    let refused = scene.run(&["up", &scene.repository, "--image", &untagged]).unwrap();
    assert_refused(&refused, NOT_TRUSTED, "is version 0.17.0");
    assert_refused(&refused, NOT_TRUSTED, "add --allow-rollback");
    assert_eq!(scene.engine.fact(&scene.name, "/Id").unwrap(), id, "the newer one still runs");
    scene.up(&["--allow-rollback"]).unwrap();
    let record = fs::read_to_string(receipt(&scene)).unwrap();
    assert!(record.contains(&old_digest), "the older one runs when it is asked for");
    scene.down().unwrap();
}

#[test]
fn why_an_image_is_trusted_is_told_link_by_link() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::unsigned("explained", &tiny_image(folder.path(), "e").unwrap(), "podman").unwrap();
    scene.sign(&Identity::vega()).unwrap();
    let told = scene.run(&["verify", &scene.image(), "--explain"]).unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let links: Vec<&str> = told
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split("  ").next())
        .collect();
    let chain = ["image", "digest", "signature", "certificate", "log", "time", "root", "policy", "may run"];
    assert_eq!(links, chain, "{told}");
    for word in [
        scene.digest.as_str(),
        "publish-builder-image.yml@refs/tags/v0.18.0",
        "vouched for by https://token.actions.githubusercontent.com",
        "for https://github.com/Ad-Astra-Computing/vega-agent, refs/tags/v0.18.0, commit 0123456789",
        "https://rekor.test, entry ",
        "0 days ago",
        "trusted_root.json",
        "publisher Vega (built in)",
        &scene.pinned(),
    ] {
        assert!(told.contains(word), "{word} is missing in {told}");
    }
    assert!(told.lines().count() <= 24, "it does not fit on a screen: {told}");
    let json = scene.run(&["verify", &scene.image(), "--output", "json"]).unwrap();
    let last = String::from_utf8(json.stdout).unwrap().lines().last().unwrap().to_owned();
    let result = &serde_json::from_str::<Value>(&last).unwrap()["result"];
    let links: Vec<&str> =
        result["chain"].as_array().unwrap().iter().map(|link| link["link"].as_str().unwrap()).collect();
    assert_eq!(links, chain[..8]);
}

#[test]
fn a_private_sigstores_root_is_had_by_tuf() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::unsigned("by-tuf", &tiny_image(folder.path(), "t").unwrap(), "podman").unwrap();
    scene.sign(&Identity::vega()).unwrap();
    let tuf = Tuf::serve().unwrap();
    tuf.publish(&scene.authority.trusted_root().unwrap(), 1, 100).unwrap();
    fs::write(folder.path().join("root.json"), tuf.root().unwrap()).unwrap();
    let policy = folder.path().join("trust.toml");
    fs::write(&policy, format!("[root]\ntuf = \"{}\"\ntuf-root = \"root.json\"\n", tuf.url())).unwrap();
    let verify = || {
        let mut command = scene.command(&["verify", &scene.image(), "--output", "json"]);
        command.env_remove("VEGA_BUILDER_TRUSTED_ROOT").env("VEGA_BUILDER_TRUST_POLICY", &policy);
        // As nobody in particular: root's cache is the machine's.
        command.env("XDG_CACHE_HOME", folder.path()).uid(65534).gid(65534).current_dir("/").output().unwrap()
    };
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(scene.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = verify();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("\"refreshed\":\"20"), "{said}");
    drop(tuf);
    assert!(verify().status.success(), "what was fetched today serves without the repository");
}
