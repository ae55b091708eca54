//! Where a path was built, in a statement of in-toto's with SLSA's provenance, signed with the key that signs the path.
//! It tells; nothing here takes it for trust.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use harmonia_store_core::{
    signature::{PublicKey, SecretKey, Signature},
    store_path::{StoreDir, StorePath},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{PathInfo, queue::Entry};
use crate::value::BuildOrigin;

/// A statement with its signature (DSSE).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload_type: String,
    /// Base 64.
    payload: String,
    signatures: Vec<Signed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signed {
    /// The key's name, as narinfos have it.
    keyid: String,
    /// Base 64.
    sig: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ProvenanceError {
    #[error("it is no in-toto statement in a DSSE envelope: {0}")]
    Form(String),
    #[error(
        "no signature in it is by {0}: it is another's, or forged; `vega-builder provenance` without --key shows what it says"
    )]
    Signature(String),
}

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const BUILD_TYPE: &str =
    "https://github.com/Ad-Astra-Computing/vega-builder/blob/main/docs/push.md#provenance";

/// Who has built, where no signed image has.
const ON_HOST: &str = "https://github.com/Ad-Astra-Computing/vega-builder/blob/main/docs/host.md";

/// The name of a path's provenance in a cache.
pub fn name(path: &StorePath) -> String {
    format!("{}.provenance.json", path.hash())
}

/// What is known of a build's outputs: those of `infos`.
pub fn statement(entry: &Entry, infos: &[&PathInfo], origin: &BuildOrigin, store: &StoreDir) -> Value {
    let subject = |info: &&PathInfo| {
        json!({
            "name": store.display(&info.path).to_string(),
            // Of the NAR.
            "digest": { "sha256": hex::encode(info.nar_hash.digest_bytes()) },
        })
    };
    let job = entry.job.as_ref();
    let said = |name: &str| job.and_then(|job| job.get(name));
    let image = origin.image.as_ref();
    let dependency = image.map(|image| {
        let digest = image.digest.trim_start_matches("sha256:");
        json!({ "name": "runner image", "uri": image.image, "digest": { "sha256": digest } })
    });
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": infos.iter().map(subject).collect::<Vec<_>>(),
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "derivation": entry.drv,
                    "outputs": entry.outputs,
                    "repository": said("GITHUB_REPOSITORY"),
                    "ref": said("GITHUB_REF"),
                    "commit": said("GITHUB_SHA"),
                    "workflow": said("GITHUB_WORKFLOW"),
                    "workflowRef": said("GITHUB_WORKFLOW_REF"),
                    "job": said("GITHUB_JOB"),
                    "event": said("GITHUB_EVENT_NAME"),
                },
                "internalParameters": {
                    "sandbox": entry.sandbox,
                    "caps": {
                        "memory": origin.caps.memory.0,
                        "millicpus": origin.caps.cpus.millis,
                        "pids": origin.caps.pids,
                    },
                    "runner": origin.runner,
                    "takesJobsOf": origin.scope,
                },
                "resolvedDependencies": dependency.into_iter().collect::<Vec<_>>(),
            },
            "runDetails": {
                "builder": {
                    "id": image.map_or(ON_HOST, |image| &image.signer),
                    "version": { "vega-builder": env!("CARGO_PKG_VERSION") },
                },
                "metadata": {
                    "invocationId": job.and_then(super::queue::Job::run_url),
                    "finishedOn": entry.ended.to_string(),
                },
            },
        },
    })
}

/// The statement, signed.
pub fn signed(statement: &Value, key: Option<&SecretKey>) -> Envelope {
    let payload = statement.to_string();
    let sign = |key: &SecretKey| Signed {
        keyid: key.name().to_owned(),
        sig: BASE64_STANDARD.encode(key.sign(encoded(PAYLOAD_TYPE, payload.as_bytes())).signature_bytes()),
    };
    Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        signatures: key.into_iter().map(sign).collect(),
        payload: BASE64_STANDARD.encode(payload),
    }
}

impl Envelope {
    /// What it says, whoever says it.
    pub fn statement(&self) -> Result<Value, ProvenanceError> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(ProvenanceError::Form(format!("its payload is {}", self.payload_type)));
        }
        serde_json::from_slice(&self.payload()?).map_err(|why| ProvenanceError::Form(why.to_string()))
    }

    /// The key among these whose signature it has.
    pub fn signer<'a>(&self, keys: &'a [PublicKey]) -> Result<&'a PublicKey, ProvenanceError> {
        let message = encoded(&self.payload_type, &self.payload()?);
        let has = |key: &&PublicKey| {
            self.signatures.iter().any(|signed| {
                let bytes = BASE64_STANDARD.decode(&signed.sig).unwrap_or_default();
                Signature::from_parts(key.name(), &bytes)
                    .is_ok_and(|signature| key.verify(&message, &signature))
            })
        };
        let names = || keys.iter().map(PublicKey::name).collect::<Vec<_>>().join(", ");
        keys.iter().find(has).ok_or_else(|| ProvenanceError::Signature(names()))
    }

    fn payload(&self) -> Result<Vec<u8>, ProvenanceError> {
        BASE64_STANDARD.decode(&self.payload).map_err(|why| ProvenanceError::Form(why.to_string()))
    }
}

/// DSSE's pre-authentication encoding: what a signature is over.
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use harmonia_store_core::signature::SecretKey;
    use ring::rand::SystemRandom;
    use serde_json::json;

    use super::{Envelope, encoded, signed};

    #[test]
    fn the_encoding_is_dsses() {
        // The specification's own example.
        let message = encoded("http://example.com/HelloWorld", b"hello world");
        assert_eq!(message, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn a_signature_is_its_keys_alone_and_over_every_byte() {
        let key = |name: &str| SecretKey::generate(name.to_owned(), &SystemRandom::new()).unwrap();
        let (ours, other) = (key("a-1"), key("a-1"));
        let statement = json!({ "subject": [] });
        let envelope = signed(&statement, Some(&ours));
        let text = serde_json::to_string(&envelope).unwrap();
        let envelope: Envelope = serde_json::from_str(&text).unwrap();
        assert_eq!(envelope.statement().unwrap(), statement);
        envelope.signer(&[other.to_public_key(), ours.to_public_key()]).unwrap();
        assert!(envelope.signer(&[other.to_public_key()]).is_err());
        let forged = Envelope { payload: signed(&json!({}), None).payload, ..envelope };
        assert!(forged.signer(&[ours.to_public_key()]).unwrap_err().to_string().contains("a-1"));
        assert!(signed(&statement, None).signer(&[ours.to_public_key()]).is_err());
    }
}
