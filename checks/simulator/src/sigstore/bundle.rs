//! One signature, as cosign 3 makes it, or with one thing wrong.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{ecdsa::SigningKey, elliptic_curve::rand_core::OsRng, pkcs8::EncodePublicKey as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_cert::{
    Certificate,
    der::{Encode as _, EncodePem as _, pem::LineEnding},
};

use super::{
    Authority, Flaw, Identity,
    certificate::{Issuer, public_key},
    rekor::{LogKeys, sign},
};

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// One signature to be made.
pub struct Signing<'a> {
    pub authority: &'a Authority,
    pub flaw: Option<Flaw>,
    /// How long ago.
    pub ago: Duration,
    /// Another predicate than cosign's.
    pub says: Option<(String, Value)>,
}

/// Who signs.
#[derive(Clone, Copy)]
pub enum By<'a> {
    Workflow(&'a Identity),
    Key(&'a SigningKey),
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl<'a> Signing<'a> {
    pub fn of(authority: &'a Authority) -> Self {
        Self { authority, flaw: None, ago: Duration::ZERO, says: None }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub fn bundle(&self, digest: &str, by: By<'_>) -> anyhow::Result<String> {
        let ephemeral = SigningKey::random(&mut OsRng);
        let (key, mut material, verifier) = match by {
            By::Key(key) => (
                key,
                json!({ "publicKey": { "hint": STANDARD.encode(Sha256::digest(public_key(key)?)) } }),
                key.verifying_key().to_public_key_pem(LineEnding::LF)?,
            ),
            By::Workflow(identity) => {
                let certificate = self.certificate(&ephemeral, identity)?;
                let raw = STANDARD.encode(certificate.to_der()?);
                (
                    &ephemeral,
                    json!({ "certificate": { "rawBytes": raw } }),
                    certificate.to_pem(LineEnding::LF)?,
                )
            }
        };
        let payload = self.statement(digest);
        let mut signature = sign(key, &pae(&payload));
        let logged = signature.clone();
        if self.is(Flaw::BrokenSignature) {
            let last = signature.len() - 1;
            signature[last] ^= 1;
        }
        let envelope = json!({
            "payload": STANDARD.encode(&payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": STANDARD.encode(&signature) }],
        });
        let entry_payload = if self.is(Flaw::OtherEntry) { b"{}".to_vec() } else { payload };
        let signed_by = (STANDARD.encode(&logged), STANDARD.encode(verifier));
        let body = entry_body(&entry_payload, &envelope.to_string(), &[signed_by]);
        if !self.is(Flaw::NoLogEntry) {
            material["tlogEntries"] = json!([self.entry(&body)?]);
        }
        Ok(json!({
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": envelope,
        })
        .to_string())
    }

    pub fn certificate(&self, key: &SigningKey, identity: &Identity) -> anyhow::Result<Certificate> {
        let public = public_key(key)?;
        let from = if self.is(Flaw::Lapsed) {
            SystemTime::now() - Duration::from_secs(3600)
        } else {
            SystemTime::now() - self.ago - Duration::from_secs(5)
        };
        let stranger = SigningKey::random(&mut OsRng);
        let log = match self.flaw {
            Some(Flaw::NoSct) => None,
            Some(Flaw::ForeignSct) => Some(&stranger),
            _ => Some(&self.authority.transparency),
        };
        if self.is(Flaw::ForeignAuthority) {
            // The same name, another key.
            return Issuer::new("fulcio.test")?.issue(&public, identity, from, log);
        }
        self.authority.issuer.issue(&public, identity, from, log)
    }

    fn statement(&self, digest: &str) -> Vec<u8> {
        let hex = digest.trim_start_matches("sha256:");
        let subject = if self.is(Flaw::OtherSubject) { sha256(hex.as_bytes()) } else { hex.to_owned() };
        let (predicate_type, predicate) = match &self.says {
            Some((predicate_type, predicate)) => (predicate_type.as_str(), predicate.clone()),
            None if self.is(Flaw::OtherPredicate) => ("https://example.com/other/v1", json!({})),
            None => (COSIGN_SIGN, json!({})),
        };
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": { "sha256": subject } }],
            "predicateType": predicate_type,
            "predicate": predicate,
        })
        .to_string()
        .into_bytes()
    }

    /// What Rekor gives back for an entry, in the form of a bundle.
    pub fn entry(&self, body: &[u8]) -> anyhow::Result<Value> {
        let stranger = SigningKey::random(&mut OsRng);
        let keys = LogKeys {
            promiser: if self.is(Flaw::ForeignPromise) { &stranger } else { &self.authority.rekor },
            noter: if self.is(Flaw::ForeignCheckpoint) { &stranger } else { &self.authority.rekor },
        };
        let logged = self.authority.log(body, &keys, self.is(Flaw::WrongInclusionProof), self.ago)?;
        let hashes: Vec<String> = logged.proof.path.iter().map(|hash| STANDARD.encode(hash)).collect();
        Ok(json!({
            "logIndex": logged.proof.index.to_string(),
            "logId": { "keyId": STANDARD.encode(&logged.log_id) },
            "kindVersion": { "kind": "dsse", "version": "0.0.1" },
            "integratedTime": logged.time.to_string(),
            "inclusionPromise": { "signedEntryTimestamp": STANDARD.encode(&logged.promise) },
            "inclusionProof": {
                "logIndex": logged.proof.index.to_string(),
                "rootHash": STANDARD.encode(logged.proof.root),
                "treeSize": logged.proof.size.to_string(),
                "hashes": hashes,
                "checkpoint": { "envelope": logged.checkpoint },
            },
            "canonicalizedBody": STANDARD.encode(body),
        }))
    }
}

/// DSSE's pre-authentication encoding: what is really signed.
fn pae(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    bytes.extend(payload);
    bytes
}

/// Rekor's canonical form of an entry of the kind `dsse`: signatures and their certificates in base64.
pub fn entry_body(payload: &[u8], envelope: &str, signatures: &[(String, String)]) -> Vec<u8> {
    let signatures: Vec<Value> = signatures
        .iter()
        .map(|(signature, verifier)| json!({ "signature": signature, "verifier": verifier }))
        .collect();
    let body = json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": { "algorithm": "sha256", "value": sha256(envelope.as_bytes()) },
            "payloadHash": { "algorithm": "sha256", "value": sha256(payload) },
            "signatures": signatures,
        },
    });
    body.to_string().into_bytes()
}
