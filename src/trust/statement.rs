//! The in-toto statements that are made about an image.

use sigstore_verify::types::{Bundle, SignatureContent};

use super::{Refusal, provenance::is_provenance};
use crate::value::ImageDigest;

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// "This image is signed", as opposed to an attestation about it.
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Debug, serde::Deserialize)]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    #[serde(default)]
    pub predicate: serde_json::Value,
}

#[derive(Debug, serde::Deserialize)]
struct Subject {
    digest: std::collections::BTreeMap<String, String>,
}

/// What a bundle claims to be.
pub enum Claim {
    /// A signature over the image.
    Signature,
    /// SLSA provenance of the image.
    Provenance(Box<Statement>),
    /// An attestation of another kind (an SBOM, say): true or not, it is no signature.
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
    // https://in-toto.io/Statement/v0.1 and /v1
    if !statement.kind.starts_with("https://in-toto.io/Statement/v") {
        return Err(Refusal(format!(
            "a signature's payload is a {}, not an in-toto statement",
            statement.kind
        )));
    }
    let is_provenance = is_provenance(&statement.predicate_type);
    if statement.predicate_type != COSIGN_SIGN && !is_provenance {
        return Ok(Claim::Other);
    }
    let names_it =
        |subject: &Subject| subject.digest.get("sha256").is_some_and(|sha256| sha256 == digest.hex());
    if !statement.subject.iter().any(names_it) {
        let what = if is_provenance { "its provenance" } else { "a signature" };
        return Err(Refusal(format!("{what} is for another image")));
    }
    Ok(if is_provenance { Claim::Provenance(Box::new(statement)) } else { Claim::Signature })
}
