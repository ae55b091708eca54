//! A signature in cosign 2's form: a "simple signing" payload, and all else in annotations.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{ecdsa::SigningKey, elliptic_curve::rand_core::OsRng};
use serde_json::json;
use x509_cert::der::{EncodePem as _, pem::LineEnding};

use super::{
    Authority, Identity,
    bundle::{Signing, sha256},
    rekor::{LogKeys, sign},
};

pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// A payload and the annotations of its layer.
#[derive(Debug, Clone)]
pub struct Simple {
    pub payload: String,
    pub annotations: BTreeMap<String, String>,
}

/// What cosign says of an image; `kind` is its "type".
pub fn payload(reference: &str, digest: &str, kind: &str) -> String {
    json!({
        "critical": {
            "identity": { "docker-reference": reference },
            "image": { "docker-manifest-digest": digest },
            "type": kind,
        },
        "optional": null,
    })
    .to_string()
}

impl Authority {
    /// Sign any payload as `identity`, and log it.
    pub fn sign_simply(&self, payload: &str, identity: &Identity) -> anyhow::Result<Simple> {
        let key = SigningKey::random(&mut OsRng);
        let certificate = Signing::of(self).certificate(&key, identity)?.to_pem(LineEnding::LF)?;
        let signature = STANDARD.encode(sign(&key, payload.as_bytes()));
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": { "hash": { "algorithm": "sha256", "value": sha256(payload.as_bytes()) } },
                "signature": { "content": signature, "publicKey": { "content": STANDARD.encode(&certificate) } },
            },
        })
        .to_string();
        let keys = LogKeys { promiser: &self.rekor, noter: &self.rekor };
        let logged = self.log(body.as_bytes(), &keys, false, Duration::ZERO)?;
        let entry = json!({
            "SignedEntryTimestamp": STANDARD.encode(&logged.promise),
            "Payload": {
                "body": STANDARD.encode(&body),
                "integratedTime": logged.time,
                "logIndex": logged.proof.index,
                "logID": hex::encode(&logged.log_id),
            },
        });
        let annotations = [
            ("dev.cosignproject.cosign/signature", signature),
            ("dev.sigstore.cosign/certificate", certificate),
            ("dev.sigstore.cosign/bundle", entry.to_string()),
        ];
        Ok(Simple {
            payload: payload.to_owned(),
            annotations: annotations.map(|(name, text)| (name.to_owned(), text)).into(),
        })
    }
}
