//! The in-toto statement that cosign signs for an image.

use sigstore_verify::types::{Bundle, SignatureContent};

use super::Refusal;
use crate::value::ImageDigest;

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// "This image is signed", as opposed to an attestation about it.
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(serde::Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(serde::Deserialize)]
struct Subject {
    digest: std::collections::BTreeMap<String, String>,
}

/// What a bundle claims to be.
pub enum Claim {
    /// A signature over the image.
    Signature,
    /// An attestation of another kind (provenance, an SBOM): true or not, it is no signature.
    Other,
}

/// Read what `bundle` claims about `digest`; the signature over the claim is checked elsewhere.
pub fn claim(bundle: &Bundle, digest: &ImageDigest) -> Result<Claim, Refusal> {
    let envelope = match &bundle.content {
        // A signature over the manifest's bytes: the verifier compares the digest.
        SignatureContent::MessageSignature(_) => return Ok(Claim::Signature),
        SignatureContent::DsseEnvelope(envelope) => envelope,
        _ => return Err(Refusal("a bundle's content is of a kind that nobody knows yet".to_owned())),
    };
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(Refusal(format!(
            "a signature's payload is {}, not an in-toto statement",
            envelope.payload_type
        )));
    }
    let statement: Statement = serde_json::from_slice(envelope.payload.as_bytes())
        .map_err(|why| Refusal(format!("a signature's payload is not an in-toto statement: {why}")))?;
    if !statement.kind.starts_with("https://in-toto.io/Statement/v") {
        return Err(Refusal(format!(
            "a signature's payload is a {}, not an in-toto statement",
            statement.kind
        )));
    }
    if statement.predicate_type != COSIGN_SIGN {
        return Ok(Claim::Other);
    }
    let names_it =
        |subject: &Subject| subject.digest.get("sha256").is_some_and(|sha256| sha256 == digest.hex());
    if !statement.subject.iter().any(names_it) {
        return Err(Refusal("a signature is for another image".to_owned()));
    }
    Ok(Claim::Signature)
}
