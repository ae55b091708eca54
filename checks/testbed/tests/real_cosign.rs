//! The real cosign judges what the private Sigstore signs, so that our own tests prove something; and our
//! verifier judges what the real cosign signs.

use std::process::Output;

use serde_json::Value;
use simulator::sigstore::{Flaw, Identity, attach};
use testbed::{
    cosign::{By, Cosign},
    layout::tiny_image,
    scene::{IMAGE, Scene},
};

const NOT_TRUSTED: i32 = 3;
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

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

fn accepts(cosign: Cosign, scene: &Scene) -> (bool, String) {
    let output = cosign.verify(scene).unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn cosign_accepts_what_the_private_sigstore_signs() {
    for cosign in Cosign::BOTH {
        let scene = scene("cosign-good");
        let (accepted, said) = accepts(cosign, &scene);
        assert!(!accepted, "unsigned: {cosign:?}: {said}");
        sign(&scene, &Identity::vega());
        let (accepted, said) = accepts(cosign, &scene);
        assert!(accepted, "{cosign:?}: {said}");
    }
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
        for cosign in Cosign::BOTH {
            let (accepted, said) = accepts(cosign, &scene);
            assert!(!accepted, "{cosign:?}: {flaw:?}: {said}");
        }
    }
    let scene = scene("cosign-other");
    // What it refuses it refuses for that reason only.
    let good = scene.authority.sign(&scene.digest, &Identity::vega()).unwrap();
    sign(&scene, &Identity::github("mallory/x", "y.yml", "refs/tags/v1"));
    for cosign in Cosign::BOTH {
        assert!(!accepts(cosign, &scene).0, "{cosign:?}");
    }
    attach(&scene.registry.address, IMAGE, &scene.digest, &good).unwrap();
    for cosign in Cosign::BOTH {
        assert!(accepts(cosign, &scene).0, "{cosign:?}");
    }
}

fn ours(scene: &Scene) -> Output {
    scene.run(&["verify", &scene.image()]).unwrap()
}

#[test]
fn what_the_real_cosign_signs_is_trusted_and_pinned() {
    for cosign in Cosign::BOTH {
        let scene = scene("signed-by-cosign");
        assert_eq!(ours(&scene).status.code(), Some(NOT_TRUSTED), "nobody has signed it yet");
        let signed = cosign.sign(&scene, &Identity::vega()).unwrap();
        assert!(signed.status.success(), "{cosign:?}: {}", String::from_utf8_lossy(&signed.stderr));
        let verified = ours(&scene);
        let complaint = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success(), "{cosign:?}: {complaint}");
        assert_eq!(String::from_utf8_lossy(&verified.stdout).trim(), scene.pinned(), "{cosign:?}");
        assert!(accepts(cosign, &scene).0, "{cosign:?} does not accept its own signature");
    }
}

#[test]
fn what_the_real_cosign_signs_as_another_workflow_branch_or_issuer_is_refused() {
    let other_issuer = Identity { issuer: "https://token.example.com".to_owned(), ..Identity::vega() };
    for cosign in Cosign::BOTH {
        let scene = scene("signed-by-other");
        for identity in [
            Identity::github("Ad-Astra-Computing/vega-agent", "test.yml", "refs/tags/v1"),
            Identity::github("Ad-Astra-Computing/vega-agent", "publish-builder-image.yml", "refs/heads/main"),
            other_issuer.clone(),
        ] {
            let signed = cosign.sign(&scene, &identity).unwrap();
            assert!(signed.status.success(), "{cosign:?}: {}", String::from_utf8_lossy(&signed.stderr));
            let refused = ours(&scene);
            let complaint = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(NOT_TRUSTED), "{cosign:?}: {complaint}");
            assert!(complaint.contains("it is signed by https://github.com/"), "{complaint}");
        }
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn evidence(scene: &Scene, more: &[&str]) -> Value {
    let image = scene.image();
    let verified = scene.run(&[&["verify", &image, "--output", "json"], more].concat()).unwrap();
    succeeded(&verified);
    let last = String::from_utf8_lossy(&verified.stdout).lines().last().unwrap().to_owned();
    serde_json::from_str::<Value>(&last).unwrap()["result"]["evidence"].take()
}

#[test]
fn cosign_2_s_form_as_the_real_cosign_writes_it_is_trusted() {
    for cosign in Cosign::BOTH {
        let scene = scene("simple-signing");
        succeeded(&cosign.sign_simply(&scene, By::Workflow(&Identity::vega())).unwrap());
        let evidence = evidence(&scene, &[]);
        assert_eq!(evidence["signature"]["format"], SIMPLE_SIGNING, "{cosign:?}");
        assert_eq!(evidence["version"], "0.18.0");
    }
}

#[test]
fn cosign_2_s_form_by_a_stranger_is_refused() {
    for cosign in Cosign::BOTH {
        let scene = scene("simple-stranger");
        let stranger = Identity::github("mallory/x", "y.yml", "refs/tags/v1");
        succeeded(&cosign.sign_simply(&scene, By::Workflow(&stranger)).unwrap());
        let refused = ours(&scene);
        let complaint = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(NOT_TRUSTED), "{complaint}");
        assert!(complaint.contains("it is signed by https://github.com/mallory/x"), "{complaint}");
    }
}

#[test]
fn a_key_of_one_s_own_is_trusted_in_both_forms_when_it_is_named_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let key = Cosign::Three.generate_key(folder.path()).unwrap();
    let public = folder.path().join("cosign.pub").display().to_string();
    let other = tempfile::tempdir().unwrap();
    Cosign::Three.generate_key(other.path()).unwrap();
    let other = other.path().join("cosign.pub").display().to_string();
    for simple in [true, false] {
        let scene = scene("by-key");
        succeeded(&if simple {
            Cosign::Three.sign_simply(&scene, By::Key(&key)).unwrap()
        } else {
            Cosign::Three.sign_by_key(&scene, &key).unwrap()
        });
        let evidence = evidence(&scene, &["--key", &public]);
        assert!(evidence["signature"]["signer"]["key"].as_str().unwrap().starts_with("sha256:"));
        let refused = ours(&scene);
        assert_eq!(refused.status.code(), Some(NOT_TRUSTED), "nobody named the key");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("the policy names none"));
        let refused = scene.run(&["verify", &scene.image(), "--key", &other]).unwrap();
        let complaint = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(NOT_TRUSTED), "{complaint}");
    }
}
