//! Rekor v1: a log that promises to take an entry in, and proves that it did; as a service, for clients that
//! sign by themselves.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer as _},
    pkcs8::{EncodePublicKey as _, LineEnding},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Authority,
    bundle::entry_body,
    certificate::public_key,
    log::{Proof, Tree, checkpoint},
    service::refusal,
};

const ORIGIN: &str = "rekor.test";

/// The keys that sign the two things that a log says; both Rekor's own, unless something is to be wrong.
pub struct LogKeys<'a> {
    pub promiser: &'a SigningKey,
    pub noter: &'a SigningKey,
}

/// What the log says of an entry.
pub struct Logged {
    pub proof: Proof,
    /// SHA-256 of the log's public key.
    pub log_id: Vec<u8>,
    /// Seconds since 1970.
    pub time: u64,
    /// The signed entry timestamp.
    pub promise: Vec<u8>,
    pub checkpoint: String,
}

pub fn sign(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    let signature: DerSignature = key.sign(message);
    signature.as_bytes().to_vec()
}

impl Authority {
    /// Take an entry in, so long `ago`; `astray` gives the proof of another tree.
    pub(super) fn log(
        &self,
        body: &[u8],
        keys: &LogKeys<'_>,
        astray: bool,
        ago: Duration,
    ) -> anyhow::Result<Logged> {
        let log_id = Sha256::digest(public_key(&self.rekor)?).to_vec();
        let mut proof = self.tree().add(body);
        if astray {
            proof = Tree::default().add(b"something else");
        }
        let time = (SystemTime::now() - ago).duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        // Canonical JSON: sorted keys, no space; serde_json sorts by itself.
        let promised = json!({
            "body": STANDARD.encode(body), "integratedTime": time, "logID": hex::encode(&log_id), "logIndex": proof.index,
        });
        let promise = sign(keys.promiser, promised.to_string().as_bytes());
        let checkpoint = checkpoint(ORIGIN, &proof, keys.noter, &log_id);
        Ok(Logged { proof, log_id, time, promise, checkpoint })
    }
}

pub fn routes() -> Router<Arc<Authority>> {
    Router::new().route("/api/v1/log/entries", post(add)).route("/api/v1/log/publicKey", get(key))
}

async fn key(State(authority): State<Arc<Authority>>) -> Response {
    let pem = authority.rekor.verifying_key().to_public_key_pem(LineEnding::LF).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/x-pem-file")], pem).into_response()
}

#[derive(Deserialize)]
struct Proposed {
    kind: String,
    #[serde(rename = "apiVersion")]
    version: String,
    spec: Value,
}

async fn add(State(authority): State<Arc<Authority>>, Json(proposed): Json<Proposed>) -> Response {
    match take_in(&authority, &proposed) {
        Ok(response) => response,
        Err(why) => refusal(400, &format!("{why:#}")),
    }
}

fn take_in(authority: &Authority, proposed: &Proposed) -> anyhow::Result<Response> {
    let body = canonical(proposed)?;
    let keys = LogKeys { promiser: &authority.rekor, noter: &authority.rekor };
    let logged = authority.log(&body, &keys, false, Duration::ZERO)?;
    let hashes: Vec<String> = logged.proof.path.iter().map(hex::encode).collect();
    // The tree's number, then the leaf's hash.
    let leaf = hex::encode(Sha256::new().chain_update([0]).chain_update(&body).finalize());
    let uuid = format!("{:016x}{leaf}", 1);
    let entry = json!({
        uuid.clone(): {
            "body": STANDARD.encode(&body),
            "integratedTime": logged.time,
            "logID": hex::encode(&logged.log_id),
            "logIndex": logged.proof.index,
            "verification": {
                "signedEntryTimestamp": STANDARD.encode(&logged.promise),
                "inclusionProof": {
                    "checkpoint": logged.checkpoint,
                    "hashes": hashes,
                    "logIndex": logged.proof.index,
                    "rootHash": hex::encode(logged.proof.root),
                    "treeSize": logged.proof.size,
                },
            },
        },
    });
    let location = format!("/api/v1/log/entries/{uuid}");
    Ok((StatusCode::CREATED, [(header::ETAG, uuid), (header::LOCATION, location)], Json(entry))
        .into_response())
}

/// The form in which an entry is logged.
fn canonical(proposed: &Proposed) -> anyhow::Result<Vec<u8>> {
    match proposed.kind.as_str() {
        "hashedrekord" => Ok(json!({
            "apiVersion": proposed.version, "kind": proposed.kind, "spec": proposed.spec,
        })
        .to_string()
        .into_bytes()),
        "dsse" => {
            let content = &proposed.spec["proposedContent"];
            let envelope = content["envelope"].as_str().context("no envelope")?;
            let parsed: Value = serde_json::from_str(envelope)?;
            let payload = STANDARD.decode(parsed["payload"].as_str().context("no payload")?)?;
            let text = |value: &Value| value.as_str().map(str::to_owned).context("not a text");
            let signatures = parsed["signatures"].as_array().context("no signatures")?;
            let verifiers = content["verifiers"].as_array().context("no verifiers")?;
            ensure!(signatures.len() == verifiers.len(), "as many verifiers as signatures");
            let pairs = signatures
                .iter()
                .zip(verifiers)
                .map(|(signature, verifier)| Ok((text(&signature["sig"])?, text(verifier)?)))
                .collect::<anyhow::Result<Vec<_>>>()?;
            Ok(entry_body(&payload, envelope, &pairs))
        }
        other => anyhow::bail!("entries of the kind {other} are not taken here"),
    }
}
