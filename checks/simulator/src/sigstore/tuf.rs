//! A TUF repository that gives a trusted root away, as the public Sigstore's does: one key for every role, no
//! consistent snapshots (The Update Framework, version 1.0).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use olpc_cjson::CanonicalFormatter;
use p256::{
    ecdsa::SigningKey,
    elliptic_curve::rand_core::OsRng,
    pkcs8::{EncodePublicKey as _, LineEnding},
};
use serde::Serialize as _;
use serde_json::{Serializer, Value, json};
use sha2::{Digest as _, Sha256};

use super::rekor::sign;
use crate::loopback::Loopback;

const TARGET: &str = "trusted_root.json";

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// The repository; it is away once dropped.
pub struct Tuf {
    key: SigningKey,
    files: Files,
    delay: Arc<Mutex<Duration>>,
    loopback: Loopback,
}

fn canonical(value: &Value) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, CanonicalFormatter::new()))?;
    Ok(bytes)
}

fn hex_digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// What a role's metadata says of another file.
fn meta(bytes: &[u8], version: u64) -> Value {
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": hex_digest(bytes) } })
}

impl Tuf {
    pub fn serve() -> anyhow::Result<Self> {
        let (files, delay) = (Files::default(), Arc::new(Mutex::new(Duration::ZERO)));
        let loopback = Loopback::serve(0, |_| {
            Ok(Router::new().fallback(answer).with_state((Arc::clone(&files), Arc::clone(&delay))))
        })?;
        Ok(Self { key: SigningKey::random(&mut OsRng), files, delay, loopback })
    }

    pub fn url(&self) -> &str {
        self.loopback.url()
    }

    /// From now on every answer takes so long.
    pub fn delay(&self, delay: Duration) {
        *self.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// From now on this file is not there.
    pub fn lose(&self, path: &str) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// The `root.json` that a client begins with.
    pub fn root(&self) -> anyhow::Result<Vec<u8>> {
        let (key, id) = self.public_key()?;
        let role = json!({ "keyids": [id], "threshold": 1 });
        self.sealed(&json!({
            "_type": "root", "spec_version": "1.0.0", "version": 1, "expires": expires(10_000)?,
            "consistent_snapshot": false, "keys": { id.clone(): key },
            "roles": { "root": role, "timestamp": role, "snapshot": role, "targets": role },
        }))
    }

    /// Give this trusted root away, by metadata of this version that lapses after so many hours (or did before).
    pub fn publish(&self, trusted_root: &str, version: u64, lasts: i64) -> anyhow::Result<()> {
        let role = |kind: &str| -> anyhow::Result<Value> {
            let expires = expires(lasts)?;
            Ok(json!({ "_type": kind, "spec_version": "1.0.0", "version": version, "expires": expires }))
        };
        let mut targets = role("targets")?;
        let target = trusted_root.as_bytes();
        let facts = json!({ "length": target.len(), "hashes": { "sha256": hex_digest(target) } });
        targets["targets"] = json!({ TARGET: facts });
        let targets = self.sealed(&targets)?;
        let mut snapshot = role("snapshot")?;
        snapshot["meta"] = json!({ "targets.json": meta(&targets, version) });
        let snapshot = self.sealed(&snapshot)?;
        let mut timestamp = role("timestamp")?;
        timestamp["meta"] = json!({ "snapshot.json": meta(&snapshot, version) });
        let timestamp = self.sealed(&timestamp)?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, bytes) in
            [("targets.json", targets), ("snapshot.json", snapshot), ("timestamp.json", timestamp)]
        {
            files.insert(format!("/{name}"), bytes);
        }
        files.insert(format!("/targets/{TARGET}"), target.to_vec());
        Ok(())
    }

    /// Give the same away, signed by somebody else.
    pub fn forge(&mut self, trusted_root: &str, version: u64) -> anyhow::Result<()> {
        let own = std::mem::replace(&mut self.key, SigningKey::random(&mut OsRng));
        let forged = self.publish(trusted_root, version, 100);
        self.key = own;
        forged
    }

    fn public_key(&self) -> anyhow::Result<(Value, String)> {
        let pem = self.key.verifying_key().to_public_key_pem(LineEnding::LF)?;
        let key = json!({ "keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": { "public": pem } });
        let id = hex_digest(&canonical(&key)?);
        Ok((key, id))
    }

    fn sealed(&self, signed: &Value) -> anyhow::Result<Vec<u8>> {
        let (_, id) = self.public_key()?;
        let signature = hex::encode(sign(&self.key, &canonical(signed)?));
        let signatures = json!([{ "keyid": id, "sig": signature }]);
        Ok(json!({ "signed": signed, "signatures": signatures }).to_string().into_bytes())
    }
}

fn expires(hours: i64) -> anyhow::Result<String> {
    let time = Timestamp::now().checked_add(SignedDuration::from_hours(hours))?;
    Ok(time.round(jiff::Unit::Second)?.to_string())
}

async fn answer(State((files, delay)): State<(Files, Arc<Mutex<Duration>>)>, uri: Uri) -> Response {
    let wait = *delay.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::time::sleep(wait).await;
    let found = files.lock().unwrap_or_else(PoisonError::into_inner).get(uri.path()).cloned();
    found.map_or_else(|| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
}
