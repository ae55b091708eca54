//! A bundle beside its image: an OCI manifest that refers to it, and, for registries without the referrers
//! API, the fallback tag whose index lists it.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use reqwest::{StatusCode, blocking::Client, header::CONTENT_TYPE};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::bundle::{COSIGN_SIGN, MEDIA_TYPE};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

struct Repository {
    client: Client,
    url: String,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

/// The manifest that refers to an image, and whose one layer is the bundle.
fn referring(subject: &Value, bundle: &str) -> anyhow::Result<String> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": MEDIA_TYPE,
        "config": descriptor(EMPTY, b"{}"),
        "layers": [descriptor(MEDIA_TYPE, bundle.as_bytes())],
        "subject": subject,
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": COSIGN_SIGN,
            "org.opencontainers.image.created": Timestamp::now().round(jiff::Unit::Second)?.to_string(),
        },
    });
    Ok(manifest.to_string())
}

/// Attach `bundle` to the one image of an OCI layout, and call that `tag`, as tools write layouts.
pub fn attach_in_layout(layout: &Path, tag: &str, bundle: &str) -> anyhow::Result<()> {
    let put = |bytes: &[u8]| -> anyhow::Result<()> {
        let hex = digest(bytes).trim_start_matches("sha256:").to_owned();
        Ok(fs::write(layout.join("blobs/sha256").join(hex), bytes)?)
    };
    let file = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let subject = index["manifests"][0].clone();
    let manifest = referring(&subject, bundle)?;
    for bytes in [b"{}".as_slice(), bundle.as_bytes(), manifest.as_bytes()] {
        put(bytes)?;
    }
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = json!(tag);
    let entries = index["manifests"].as_array_mut().context("an index without entries")?;
    entries.push(descriptor(MANIFEST, manifest.as_bytes()));
    Ok(fs::write(&file, index.to_string())?)
}

/// Attach `bundle` to the image NAME@SUBJECT in the registry at `address`, as the specification has it.
pub fn attach(address: &str, name: &str, subject: &str, bundle: &str) -> anyhow::Result<()> {
    attach_listed_as(MEDIA_TYPE, address, name, subject, bundle)
}

/// The same, as cosign 3 does: its index says of the bundle that it is empty.
pub fn attach_as_cosign(address: &str, name: &str, subject: &str, bundle: &str) -> anyhow::Result<()> {
    attach_listed_as(EMPTY, address, name, subject, bundle)
}

fn attach_listed_as(
    listed_as: &str,
    address: &str,
    name: &str,
    subject: &str,
    bundle: &str,
) -> anyhow::Result<()> {
    let client = Client::builder().no_proxy().build()?;
    let repository = Repository { client, url: format!("http://{address}/v2/{name}") };
    let (subject_bytes, subject_type) =
        repository.manifest(subject)?.with_context(|| format!("{name}@{subject} is not in the registry"))?;
    repository.blob(b"{}")?;
    repository.blob(bundle.as_bytes())?;
    let manifest = referring(&descriptor(&subject_type, &subject_bytes), bundle)?;
    repository.put_manifest(&digest(manifest.as_bytes()), MANIFEST, manifest.as_bytes())?;

    let tag = subject.replace(':', "-");
    let mut index = match repository.manifest(&tag)? {
        Some((bytes, _)) => serde_json::from_slice(&bytes)?,
        None => json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }),
    };
    let mut entry = descriptor(MANIFEST, manifest.as_bytes());
    entry["artifactType"] = json!(listed_as);
    index["manifests"].as_array_mut().context("the fallback tag is no index")?.push(entry);
    repository.put_manifest(&tag, INDEX, index.to_string().as_bytes())
}

impl Repository {
    fn manifest(&self, reference: &str) -> anyhow::Result<Option<(Vec<u8>, String)>> {
        let accepted = format!("{INDEX}, {MANIFEST}");
        let reply = self
            .client
            .get(format!("{}/manifests/{reference}", self.url))
            .header("accept", accepted)
            .send()?;
        if reply.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(reply.status().is_success(), "{}: {}", reply.url(), reply.status());
        let kind =
            reply.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or(MANIFEST);
        let kind = kind.to_owned();
        Ok(Some((reply.bytes()?.to_vec(), kind)))
    }

    fn put_manifest(&self, reference: &str, kind: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let request =
            self.client.put(format!("{}/manifests/{reference}", self.url)).header(CONTENT_TYPE, kind);
        let reply = request.body(bytes.to_vec()).send()?;
        ensure!(reply.status().is_success(), "{}: {} {}", self.url, reply.status(), reply.text()?);
        Ok(())
    }

    fn blob(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let reply = self.client.post(format!("{}/blobs/uploads/", self.url)).send()?;
        let place = reply.headers().get("location").and_then(|value| value.to_str().ok());
        let place = place.context("the registry names no place for an upload")?;
        let joint = if place.contains('?') { '&' } else { '?' };
        let reply =
            self.client.put(format!("{place}{joint}digest={}", digest(bytes))).body(bytes.to_vec()).send()?;
        ensure!(reply.status().is_success(), "{}: {}", self.url, reply.status());
        Ok(())
    }
}
