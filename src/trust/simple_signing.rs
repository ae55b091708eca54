//! cosign 2's form: a manifest at the tag `sha256-<hex>.sig` whose layers are "simple signing" payloads, with the
//! signature, the certificate and the log's promise in their annotations.
//!
//! All of it is written anew as a Sigstore bundle over the payload's bytes, so that one verifier judges both forms.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sigstore_verify::types::{Bundle, DerCertificate};

use super::Refusal;
use crate::value::{Attachment, ImageDigest};

pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// What the payload says it is (cosign, "Signature specification").
const TYPE: &str = "cosign container image signature";

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

/// What the payload says; its signature is checked elsewhere.
#[derive(serde::Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(serde::Deserialize)]
struct Critical {
    identity: DockerReference,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(serde::Deserialize)]
struct DockerReference {
    #[serde(rename = "docker-reference")]
    docker_reference: String,
}

#[derive(serde::Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// The log's promise, as cosign keeps it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LogEntry {
    signed_entry_timestamp: String,
    payload: Entry,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    body: String,
    integrated_time: i64,
    log_index: u64,
    #[serde(rename = "logID")]
    log_id: String,
}

/// A payload that names what it is for.
#[derive(Debug)]
pub struct Claim {
    /// The name that the image had where it was signed, without tag and digest.
    pub reference: String,
}

/// Read what the payload claims about `digest`: its type, its digest and the image's name.
pub fn claim(payload: &str, digest: &ImageDigest) -> Result<Claim, Refusal> {
    let payload: Payload = serde_json::from_str(payload)
        .map_err(|why| Refusal(format!("a signature's payload is not a simple signing one: {why}")))?;
    let Critical { identity, image, kind } = payload.critical;
    if kind != TYPE {
        return Err(Refusal(format!("a signature's payload is a '{kind}', not a '{TYPE}'")));
    }
    if image.digest != digest.as_str() {
        return Err(Refusal("a signature is for another image".to_owned()));
    }
    Ok(Claim { reference: name_of(&identity.docker_reference).to_owned() })
}

/// A reference without its digest and its tag.
fn name_of(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// Whether two names are of one image: Docker Hub has two.
pub fn is_same(one: &str, other: &str) -> bool {
    fn plain(name: &str) -> &str {
        name.strip_prefix("index.").filter(|rest| rest.starts_with("docker.io/")).unwrap_or(name)
    }
    plain(one) == plain(other)
}

/// The same signature as a bundle (v0.1, whose log entries may have a promise and no proof).
pub fn bundle(attachment: &Attachment) -> Result<Bundle, Refusal> {
    let refuse = |why: String| Refusal(format!("a signature of cosign 2's form cannot be read: {why}"));
    let annotation = |name: &str| attachment.annotations.get(name).filter(|text| !text.is_empty());
    let signature = annotation(SIGNATURE).ok_or_else(|| refuse(format!("it has no {SIGNATURE}")))?;
    let entry = annotation(LOG_ENTRY).ok_or_else(|| refuse("it has no log entry".to_owned()))?;
    let entry: LogEntry =
        serde_json::from_str(entry).map_err(|why| refuse(format!("its log entry: {why}")))?;
    let body = STANDARD.decode(&entry.payload.body).map_err(|why| refuse(format!("its log entry: {why}")))?;
    let body: Value = serde_json::from_slice(&body).map_err(|why| refuse(format!("its log entry: {why}")))?;
    let log = hex::decode(&entry.payload.log_id).map_err(|why| refuse(format!("its log's id: {why}")))?;

    let mut material = json!({
        "tlogEntries": [{
            "logIndex": entry.payload.log_index.to_string(),
            "logId": { "keyId": STANDARD.encode(log) },
            "kindVersion": { "kind": body["kind"], "version": body["apiVersion"] },
            "integratedTime": entry.payload.integrated_time.to_string(),
            "inclusionPromise": { "signedEntryTimestamp": entry.signed_entry_timestamp },
            "canonicalizedBody": entry.payload.body,
        }],
    });
    match annotation(CERTIFICATE) {
        // The chain beside it is not looked at: what counts is in the trusted root.
        Some(pem) => {
            let certificate =
                DerCertificate::from_pem(pem).map_err(|why| refuse(format!("its certificate: {why}")))?;
            let raw = STANDARD.encode(certificate.as_bytes());
            material["x509CertificateChain"] = json!({ "certificates": [{ "rawBytes": raw }] });
        }
        None => material["publicKey"] = json!({ "hint": "" }),
    }
    if let Some(timestamp) = annotation(TIMESTAMP) {
        let timestamp: Value =
            serde_json::from_str(timestamp).map_err(|why| refuse(format!("its timestamp: {why}")))?;
        let token = &timestamp["SignedRFC3161Timestamp"];
        material["timestampVerificationData"] =
            json!({ "rfc3161Timestamps": [{ "signedTimestamp": token }] });
    }
    let digest = ImageDigest::of(attachment.text.as_bytes());
    let digest = hex::decode(digest.hex()).map_err(|why| refuse(why.to_string()))?;
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "verificationMaterial": material,
        "messageSignature": {
            "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(digest) },
            "signature": signature,
        },
    });
    Bundle::from_json(&bundle.to_string()).map_err(|why| refuse(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{claim, is_same, name_of};
    use crate::value::ImageDigest;

    fn payload(kind: &str, digest: &str, reference: &str) -> String {
        serde_json::json!({
            "critical": {
                "identity": { "docker-reference": reference },
                "image": { "docker-manifest-digest": digest },
                "type": kind,
            },
            "optional": null,
        })
        .to_string()
    }

    #[test]
    fn a_payload_for_another_image_or_of_another_type_is_refused() {
        let digest = ImageDigest::of(b"an image");
        let good = payload("cosign container image signature", digest.as_str(), "ghcr.io/a/b");
        assert_eq!(claim(&good, &digest).unwrap().reference, "ghcr.io/a/b");
        let other = claim(&good, &ImageDigest::of(b"another")).unwrap_err();
        assert_eq!(other.to_string(), "a signature is for another image");
        let atomic = payload("atomic container signature", digest.as_str(), "ghcr.io/a/b");
        assert!(claim(&atomic, &digest).unwrap_err().to_string().contains("atomic container signature"));
        assert!(claim("{}", &digest).is_err());
    }

    #[test]
    fn docker_hub_has_two_names_and_nobody_else_has() {
        assert!(is_same("docker.io/octo/x", "index.docker.io/octo/x"));
        assert!(!is_same("index.docker.io.example/octo/x", "docker.io.example/octo/x"));
        assert!(!is_same("ghcr.io/octo/x", "index.ghcr.io/octo/x"));
    }

    #[test]
    fn a_reference_s_name_is_without_tag_and_digest() {
        assert_eq!(name_of("ghcr.io/a/b"), "ghcr.io/a/b");
        assert_eq!(name_of("ghcr.io/a/b:v1"), "ghcr.io/a/b");
        assert_eq!(name_of("127.0.0.1:5000/a/b"), "127.0.0.1:5000/a/b");
        assert_eq!(name_of("127.0.0.1:5000/a/b:v1@sha256:00"), "127.0.0.1:5000/a/b");
    }
}
