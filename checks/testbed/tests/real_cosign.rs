//! The real cosign judges what the private Sigstore signs, so that our own tests prove something.

use simulator::sigstore::{Flaw, Identity, attach};
use testbed::{
    cosign,
    layout::tiny_image,
    scene::{IMAGE, Scene},
};

fn scene(name: &str) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let image = tiny_image(folder.path(), name).unwrap();
    Scene::unsigned(name, &image, "podman").unwrap()
}

/// cosign 2.5 looks at the index's own word for what a bundle is.
fn sign(scene: &Scene, identity: &Identity) {
    let bundle = scene.authority.sign(&scene.digest, identity).unwrap();
    attach(&scene.registry.address, IMAGE, &scene.digest, &bundle).unwrap();
}

fn accepts(scene: &Scene) -> (bool, String) {
    let pinned = format!("{}/{IMAGE}@{}", scene.registry.address, scene.digest);
    let output = cosign::verify(scene, &pinned).unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn cosign_accepts_what_the_private_sigstore_signs() {
    let scene = scene("cosign-good");
    let (accepted, said) = accepts(&scene);
    assert!(!accepted, "unsigned: {said}");
    sign(&scene, &Identity::vega());
    let (accepted, said) = accepts(&scene);
    assert!(accepted, "{} {said}", cosign::version().unwrap());
}

#[test]
fn cosign_refuses_another_signer_and_every_flaw_but_those_that_it_lets_through() {
    for flaw in Flaw::ALL {
        // It was asked for one type of predicate here; and it takes a log entry about another payload as long
        // as the signature in it is the envelope's. Ours takes neither (tests/signatures.rs).
        if matches!(flaw, Flaw::OtherPredicate | Flaw::OtherEntry) {
            continue;
        }
        let scene = scene("cosign-flaws");
        let bundle = scene.authority.sign_with(&scene.digest, &Identity::vega(), Some(flaw)).unwrap();
        attach(&scene.registry.address, IMAGE, &scene.digest, &bundle).unwrap();
        let (accepted, said) = accepts(&scene);
        assert!(!accepted, "{flaw:?}: {said}");
    }
    let scene = scene("cosign-other");
    // What it refuses it refuses for that reason only.
    let good = scene.authority.sign(&scene.digest, &Identity::vega()).unwrap();
    sign(&scene, &Identity::github("mallory/x", "y.yml", "refs/tags/v1"));
    assert!(!accepts(&scene).0);
    attach(&scene.registry.address, IMAGE, &scene.digest, &good).unwrap();
    assert!(accepts(&scene).0);
}
