//! Signatures over a message itself: a bundle with one, and cosign 2's form, a "simple signing" payload with all else in
//! annotations.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{ecdsa::SigningKey, elliptic_curve::rand_core::OsRng};
use serde_json::json;
use x509_cert::der::{Encode as _, EncodePem as _, pem::LineEnding};

use super::{
    Authority, Identity,
    bundle::{MEDIA_TYPE, Signing, sha256},
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
    /// A bundle v0.3 with a signature over a message itself: an image's manifest, say.
    pub fn sign_message(&self, message: &[u8], identity: &Identity) -> anyhow::Result<String> {
        let key = SigningKey::random(&mut OsRng);
        let certificate = Signing::of(self).certificate(&key, identity)?;
        let signature = STANDARD.encode(sign(&key, message));
        let pem = certificate.to_pem(LineEnding::LF)?;
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": { "hash": { "algorithm": "sha256", "value": sha256(message) } },
                "signature": { "content": signature, "publicKey": { "content": STANDARD.encode(&pem) } },
            },
        })
        .to_string();
        let mut entry = Signing::of(self).entry(body.as_bytes())?;
        entry["kindVersion"] = json!({ "kind": "hashedrekord", "version": "0.0.1" });
        Ok(json!({
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {
                "certificate": { "rawBytes": STANDARD.encode(certificate.to_der()?) },
                "tlogEntries": [entry],
            },
            "messageSignature": {
                "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(hex::decode(sha256(message))?) },
                "signature": signature,
            },
        })
        .to_string())
    }

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
