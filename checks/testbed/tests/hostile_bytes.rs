//! Every parser of bytes that come from elsewhere: whatever comes, it answers, does not panic, and trusts nothing.
//!
//! Inputs are made of three things: bytes at random, valid inputs with pieces cut, copied and changed, and the corpus in
//! `checks/testbed/corpus`, where an input that once did harm stays for ever.

use std::{collections::BTreeMap, fmt, fs, ops::Deref, path::PathBuf, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{prelude::*, sample::Index};
use serde_json::Value;
use simulator::sigstore::{Authority, Identity, SIMPLE_SIGNING, payload};
use testbed::layout::project;
use vega_builder::{
    image::{ImageReference, Manifest},
    trust::{Candidate, Policy, Root, Rules},
    value::{Attachment, ImageDigest},
};

const NAME: &str = "ghcr.io/ad-astra-computing/vega-builder";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

static TRIAL: LazyLock<Trial> = LazyLock::new(Trial::new);

struct Trial {
    policy: Policy,
    digest: ImageDigest,
    bundle: Value,
    payload: String,
    annotations: BTreeMap<String, String>,
}

impl Trial {
    fn new() -> Self {
        let authority = Authority::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("trusted_root.json");
        fs::write(&root, authority.trusted_root().unwrap()).unwrap();
        let digest = ImageDigest::of(b"an image");
        let bundle = authority.sign(digest.as_str(), &Identity::vega()).unwrap();
        let text = payload(NAME, digest.as_str(), "cosign container image signature");
        let simple = authority.sign_simply(&text, &Identity::vega()).unwrap();
        let policy = Policy::new(Rules::default(), Root::from_file(&root).unwrap());
        let bundle = serde_json::from_str(&bundle).unwrap();
        let trial = Self { policy, digest, bundle, payload: text, annotations: simple.annotations };
        // The valid inputs are valid, or what is made of them would prove nothing.
        assert!(trial.trusts(BUNDLE, trial.bundle.to_string(), BTreeMap::new()));
        assert!(trial.trusts(SIMPLE_SIGNING, trial.payload.clone(), trial.annotations.clone()));
        trial
    }

    fn trusts(&self, media_type: &str, text: String, annotations: BTreeMap<String, String>) -> bool {
        let attachment = Attachment { media_type: media_type.to_owned(), annotations, text, fault: None };
        let candidate = Candidate {
            name: NAME,
            top: &self.digest,
            attachments: &[attachment],
            platform: &self.digest,
            platform_attachments: &[],
        };
        self.policy.verify(candidate).is_ok()
    }

    /// The good bundle with one of its strings replaced.
    fn with(&self, pointer: &str, text: String) -> String {
        let mut bundle = self.bundle.clone();
        *bundle.pointer_mut(pointer).unwrap() = text.into();
        bundle.to_string()
    }
}

/// What a bundle says, and by which signatures; names that nobody reads left out.
fn said(bundle: &Value) -> (&Value, &Value, Option<Vec<&Value>>) {
    let envelope = &bundle["dsseEnvelope"];
    let signatures = envelope["signatures"].as_array();
    let signatures = signatures.map(|all| all.iter().map(|signature| &signature["sig"]).collect());
    (&envelope["payloadType"], &envelope["payload"], signatures)
}

/// Valid bytes with a piece cut out, doubled or overwritten.
fn damaged(valid: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let change = prop::collection::vec(any::<u8>(), 1..16);
    (any::<Index>(), any::<Index>(), 0..3_u8, change).prop_map(move |(from, length, how, change)| {
        let mut bytes = valid.clone();
        let from = from.index(bytes.len());
        let to = (from + length.index(64)).min(bytes.len());
        match how {
            0 => drop(bytes.splice(from..to, change)),
            1 => drop(bytes.drain(from..=to.min(bytes.len() - 1))),
            _ => {
                let piece = bytes[from..to].to_vec();
                bytes.splice(from..from, [piece, change].concat());
            }
        }
        bytes
    })
}

fn hostile(valid: Vec<u8>) -> impl Strategy<Value = Hostile> {
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..512), 3 => damaged(valid)].prop_map(Hostile)
}

/// Bytes that a failing test tells in one line.
struct Hostile(Vec<u8>);

impl fmt::Debug for Hostile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Deref for Hostile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn corpus(parser: &str) -> Vec<Vec<u8>> {
    let folder: PathBuf = project().join("checks/testbed/corpus").join(parser);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn list() -> Vec<u8> {
    let digest = ImageDigest::of(b"platform");
    serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 500,
            "platform": { "os": "linux", "architecture": "amd64" },
        }],
    })
    .to_string()
    .into_bytes()
}

fn read_manifest(bytes: &[u8]) {
    let image: ImageReference = NAME.parse().unwrap();
    let manifest = Manifest::of(bytes.to_vec());
    let _ = manifest.platform_digest(&image);
    let _ = manifest.image_id(&image);
}

fn read_reference(bytes: &[u8]) {
    if let Ok(reference) = text(bytes).parse::<ImageReference>() {
        // What was understood can be written down and understood again.
        let written = reference.to_string();
        assert_eq!(written.parse::<ImageReference>().unwrap().to_string(), written);
        assert!(!reference.name().starts_with('-'), "an engine would take it for an option: {written}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_hostile_bundle_is_trusted(bytes in hostile(TRIAL.bundle.to_string().into_bytes())) {
        let same = serde_json::from_str::<Value>(&text(&bytes)).is_ok_and(|read| read == TRIAL.bundle);
        prop_assume!(!same);
        // A change of a name that nobody reads leaves a good bundle good: then it says the same.
        if TRIAL.trusts(BUNDLE, text(&bytes), BTreeMap::new()) {
            let read: Value = serde_json::from_str(&text(&bytes)).unwrap();
            prop_assert_eq!(said(&read), said(&TRIAL.bundle));
        }
    }

    #[test]
    fn no_hostile_certificate_is_trusted(
        bytes in hostile(STANDARD.decode(
            TRIAL.bundle.pointer("/verificationMaterial/certificate/rawBytes").unwrap().as_str().unwrap()
        ).unwrap())
    ) {
        let text = TRIAL.with("/verificationMaterial/certificate/rawBytes", STANDARD.encode(&*bytes));
        prop_assume!(serde_json::from_str::<Value>(&text).unwrap() != TRIAL.bundle);
        prop_assert!(!TRIAL.trusts(BUNDLE, text, BTreeMap::new()));
    }

    #[test]
    fn no_hostile_checkpoint_is_trusted(
        bytes in hostile(TRIAL.bundle
            .pointer("/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope")
            .unwrap().as_str().unwrap().as_bytes().to_vec())
    ) {
        let pointer = "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope";
        let good = TRIAL.bundle.pointer(pointer).unwrap().as_str().unwrap();
        let note = text(&bytes);
        // Lines after the log's own are other people's signatures.
        prop_assume!(!note.starts_with(good.trim_end()));
        if TRIAL.trusts(BUNDLE, TRIAL.with(pointer, note.clone()), BTreeMap::new()) {
            prop_assert_eq!(note.split_once("\n\n").unwrap().0, good.split_once("\n\n").unwrap().0);
        }
    }

    #[test]
    fn no_hostile_payload_is_trusted(bytes in hostile(TRIAL.payload.clone().into_bytes())) {
        prop_assume!(*bytes != *TRIAL.payload.as_bytes());
        prop_assert!(!TRIAL.trusts(SIMPLE_SIGNING, text(&bytes), TRIAL.annotations.clone()));
    }

    #[test]
    fn no_hostile_annotation_brings_the_judge_down(
        name in 0..3_usize, bytes in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut annotations = TRIAL.annotations.clone();
        let name = annotations.keys().nth(name).unwrap().clone();
        annotations.insert(name, text(&bytes));
        prop_assert!(!TRIAL.trusts(SIMPLE_SIGNING, TRIAL.payload.clone(), annotations));
    }

    #[test]
    fn no_hostile_manifest_brings_the_reader_down(bytes in hostile(list())) {
        read_manifest(&bytes);
    }

    #[test]
    fn no_hostile_reference_brings_the_reader_down(
        bytes in hostile(format!("{NAME}:v1@sha256:{}", "a".repeat(64)).into_bytes())
    ) {
        read_reference(&bytes);
    }
}

#[test]
fn what_once_did_harm_does_none_again() {
    for bytes in corpus("bundle") {
        assert!(!TRIAL.trusts(BUNDLE, text(&bytes), BTreeMap::new()), "{}", text(&bytes));
    }
    for bytes in corpus("payload") {
        assert!(!TRIAL.trusts(SIMPLE_SIGNING, text(&bytes), TRIAL.annotations.clone()), "{}", text(&bytes));
    }
    for bytes in corpus("manifest") {
        read_manifest(&bytes);
    }
    for bytes in corpus("reference") {
        read_reference(&bytes);
    }
}
