//! One signature, as cosign 3 makes it, or with one thing wrong.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer as _},
    elliptic_curve::rand_core::OsRng,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_cert::{
    Certificate,
    der::{Encode as _, EncodePem as _, pem::LineEnding},
};

use super::{
    Authority, Flaw, Identity,
    authority::REKOR,
    certificate::{Issuer, public_key},
    log::{Tree, checkpoint},
};

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

pub struct Signing<'a> {
    pub authority: &'a Authority,
    pub flaw: Option<Flaw>,
}

fn sign(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    let signature: DerSignature = key.sign(message);
    signature.as_bytes().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Signing<'_> {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub fn bundle(&self, digest: &str, identity: &Identity) -> anyhow::Result<String> {
        let key = SigningKey::random(&mut OsRng);
        let certificate = self.certificate(&key, identity)?;
        let payload = self.statement(digest);
        let mut signature = sign(&key, &pae(&payload));
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
        let body = entry_body(&entry_payload, &envelope, &logged, &certificate)?;
        let mut material = json!({ "certificate": { "rawBytes": STANDARD.encode(certificate.to_der()?) } });
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

    fn certificate(&self, key: &SigningKey, identity: &Identity) -> anyhow::Result<Certificate> {
        let from = if self.is(Flaw::Lapsed) {
            SystemTime::now() - Duration::from_secs(3600)
        } else {
            SystemTime::now() - Duration::from_secs(5)
        };
        let stranger = SigningKey::random(&mut OsRng);
        let log = match self.flaw {
            Some(Flaw::NoSct) => None,
            Some(Flaw::ForeignSct) => Some(&stranger),
            _ => Some(&self.authority.transparency),
        };
        if self.is(Flaw::ForeignAuthority) {
            // The same name, another key.
            return Issuer::new("fulcio.test")?.issue(key, identity, from, log);
        }
        self.authority.issuer.issue(key, identity, from, log)
    }

    fn statement(&self, digest: &str) -> Vec<u8> {
        let hex = digest.trim_start_matches("sha256:");
        let subject = if self.is(Flaw::OtherSubject) { sha256(hex.as_bytes()) } else { hex.to_owned() };
        let predicate =
            if self.is(Flaw::OtherPredicate) { "https://example.com/other/v1" } else { COSIGN_SIGN };
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": { "sha256": subject } }],
            "predicateType": predicate,
            "predicate": {},
        })
        .to_string()
        .into_bytes()
    }

    /// What Rekor gives back for an entry: its promise, and the proof that it kept it.
    fn entry(&self, body: &[u8]) -> anyhow::Result<Value> {
        let rekor = &self.authority.rekor;
        let id = Sha256::digest(public_key(rekor)?);
        let stranger = SigningKey::random(&mut OsRng);
        let mut proof = self.authority.tree().add(body);
        if self.is(Flaw::WrongInclusionProof) {
            proof = Tree::default().add(b"something else");
        }
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let index = proof.index;
        let body = STANDARD.encode(body);
        // Canonical JSON: sorted keys, no space; serde_json sorts by itself.
        let promise =
            json!({ "body": body, "integratedTime": time, "logID": hex::encode(id), "logIndex": index });
        let promiser = if self.is(Flaw::ForeignPromise) { &stranger } else { rekor };
        let noter = if self.is(Flaw::ForeignCheckpoint) { &stranger } else { rekor };
        let hashes: Vec<String> = proof.path.iter().map(|hash| STANDARD.encode(hash)).collect();
        Ok(json!({
            "logIndex": index.to_string(),
            "logId": { "keyId": STANDARD.encode(id) },
            "kindVersion": { "kind": "dsse", "version": "0.0.1" },
            "integratedTime": time.to_string(),
            "inclusionPromise": {
                "signedEntryTimestamp": STANDARD.encode(sign(promiser, promise.to_string().as_bytes())),
            },
            "inclusionProof": {
                "logIndex": index.to_string(),
                "rootHash": STANDARD.encode(proof.root),
                "treeSize": proof.size.to_string(),
                "hashes": hashes,
                "checkpoint": { "envelope": checkpoint(REKOR, &proof, noter, &id) },
            },
            "canonicalizedBody": body,
        }))
    }
}

/// DSSE's pre-authentication encoding: what is really signed.
fn pae(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    bytes.extend(payload);
    bytes
}

/// Rekor's canonical form of an entry of the kind `dsse`.
fn entry_body(
    payload: &[u8],
    envelope: &Value,
    signature: &[u8],
    certificate: &Certificate,
) -> anyhow::Result<Vec<u8>> {
    let pem = certificate.to_pem(LineEnding::LF)?;
    let body = json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": { "algorithm": "sha256", "value": sha256(envelope.to_string().as_bytes()) },
            "payloadHash": { "algorithm": "sha256", "value": sha256(payload) },
            "signatures": [{ "signature": STANDARD.encode(signature), "verifier": STANDARD.encode(pem) }],
        },
    });
    Ok(body.to_string().into_bytes())
}
