//! cosign 2's form, and every way to pass one off for another.

use serde_json::Value;
use simulator::sigstore::{Authority, Identity, SIMPLE_SIGNING, Simple, payload};
use vega_builder::{
    trust::{Candidate, Error, Policy, Publisher, Root, Rules},
    value::{Attachment, ImageDigest},
};

const NAME: &str = "ghcr.io/ad-astra-computing/vega-builder";
const TYPE: &str = "cosign container image signature";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";

struct Trial {
    authority: Authority,
    policy: Policy,
    digest: ImageDigest,
}

impl Trial {
    fn new() -> Self {
        Self::with(Rules::default())
    }

    fn with(rules: Rules) -> Self {
        let authority = Authority::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("trusted_root.json");
        std::fs::write(&root, authority.trusted_root().unwrap()).unwrap();
        let policy = Policy::new(rules, Root::from_file(&root).unwrap());
        Self { authority, policy, digest: ImageDigest::of(b"an image") }
    }

    fn sign(&self, text: &str) -> Simple {
        self.authority.sign_simply(text, &Identity::vega()).unwrap()
    }

    fn good(&self) -> Simple {
        self.sign(&payload(NAME, self.digest.as_str(), TYPE))
    }

    fn judge(&self, simple: Simple) -> Result<(), Error> {
        let attachment = Attachment {
            media_type: SIMPLE_SIGNING.to_owned(),
            annotations: simple.annotations,
            text: simple.payload,
            fault: None,
        };
        let image = Candidate {
            name: NAME,
            top: &self.digest,
            attachments: &[attachment],
            platform: &self.digest,
            platform_attachments: &[],
        };
        self.policy.verify(image).map(drop)
    }

    fn refused(&self, simple: Simple, word: &str) {
        let error = self.judge(simple).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn what_vegas_workflow_signed_in_the_older_form_is_trusted() {
    let trial = Trial::new();
    trial.judge(trial.good()).unwrap();
    trial.judge(trial.sign(&payload(&format!("{NAME}:v1"), trial.digest.as_str(), TYPE))).unwrap();
}

#[test]
fn another_images_signature_under_this_ones_tag_is_refused() {
    let trial = Trial::new();
    let other = ImageDigest::of(b"another image");
    trial.refused(trial.sign(&payload(NAME, other.as_str(), TYPE)), "is for another image");
}

#[test]
fn another_repositorys_signature_of_the_same_bytes_is_refused_unless_the_policy_names_it() {
    let trial = Trial::new();
    let elsewhere = |trial: &Trial| {
        trial.sign(&payload("ghcr.io/ad-astra-computing/vega-builder-nightly", trial.digest.as_str(), TYPE))
    };
    trial.refused(elsewhere(&trial), "is for the name ghcr.io/ad-astra-computing/vega-builder-nightly");
    let mut publishers = Publisher::built_in();
    for publisher in &mut publishers {
        publisher.reference = Some("ghcr.io/ad-astra-computing/vega-builder-nightly".to_owned());
    }
    let mirror = Trial::with(Rules { publishers, ..Rules::default() });
    mirror.judge(elsewhere(&mirror)).unwrap();
    mirror.refused(mirror.good(), &format!("is for the name {NAME}"));
}

#[test]
fn a_payload_of_another_type_is_refused() {
    let trial = Trial::new();
    let other = payload(NAME, trial.digest.as_str(), "atomic container signature");
    trial.refused(trial.sign(&other), "is a 'atomic container signature'");
    trial.refused(trial.sign("{}"), "is not a simple signing one");
}

#[test]
fn a_payload_that_was_changed_after_it_was_signed_is_refused() {
    let trial = Trial::new();
    let mut simple = trial.sign(&payload(NAME, ImageDigest::of(b"another image").as_str(), TYPE));
    simple.payload = payload(NAME, trial.digest.as_str(), TYPE);
    trial.refused(simple, "does not verify");
}

#[test]
fn a_signature_without_its_log_entry_or_with_another_ones_is_refused() {
    let trial = Trial::new();
    let mut simple = trial.good();
    simple.annotations.remove(LOG_ENTRY);
    trial.refused(simple, "has no log entry");
    let other = trial.sign(&payload(NAME, ImageDigest::of(b"another image").as_str(), TYPE));
    for name in [SIGNATURE, CERTIFICATE, LOG_ENTRY] {
        let mut simple = trial.good();
        simple.annotations.insert(name.to_owned(), other.annotations[name].clone());
        trial.refused(simple, "does not verify");
    }
}

#[test]
fn a_log_entry_that_was_back_dated_is_refused() {
    let trial = Trial::new();
    let mut simple = trial.good();
    let mut entry: Value = serde_json::from_str(&simple.annotations[LOG_ENTRY]).unwrap();
    entry["Payload"]["integratedTime"] = (entry["Payload"]["integratedTime"].as_i64().unwrap() - 60).into();
    simple.annotations.insert(LOG_ENTRY.to_owned(), entry.to_string());
    trial.refused(simple, "does not verify");
}

#[test]
fn a_stranger_or_another_sigstore_is_refused() {
    let trial = Trial::new();
    let text = payload(NAME, trial.digest.as_str(), TYPE);
    let stranger = Identity::github("mallory/image", "publish.yml", "refs/tags/v1");
    trial.refused(
        trial.authority.sign_simply(&text, &stranger).unwrap(),
        "signed by https://github.com/mallory",
    );
    trial.refused(Trial::new().sign(&text), "names a log that the trusted root does not know");
}
