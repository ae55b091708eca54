//! One bundle, judged: whose signature it is, by which certificate or key, and when, as far as it can be proven.
//!
//! The cryptography is the Sigstore project's own (`sigstore-verify`). What is added here is what it leaves to its
//! callers: which of its findings are demanded, and the facts that a person wants to see.

use std::fmt;

use jiff::Timestamp;
use sigstore_verify::{
    PublicKeyVerificationPolicy, SubjectAltName, VerificationPolicy, VerificationResult,
    types::{Artifact, Bundle, DerPublicKey},
};

use super::{Refusal, Root, strict};

/// Who signed, when, and what else a certificate says of the workflow that did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Signature {
    /// The bundle's media type, or cosign 2's payload type.
    pub format: String,
    pub signer: Signer,
    /// Every time that a log or a timestamp authority vouches for, the earliest first.
    pub times: Vec<Timestamp>,
    pub entries: Vec<LogEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signer {
    Certificate(Box<Certificate>),
    /// A key that the policy names, by the SHA-256 of its public half.
    Key(String),
}

/// What a Fulcio certificate says. All of it is Fulcio's word: no job could have chosen it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Certificate {
    /// Its one URI name: for GitHub's workflows, the workflow's file at a ref.
    pub identity: String,
    pub issuer: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_environment: Option<String>,
}

/// Where a transparency log has the signature.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogEntry {
    /// The log's address, as the trusted root gives it.
    pub log: String,
    pub index: u64,
    /// When the log took it in, where the log signs that (Rekor v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrated: Option<Timestamp>,
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(found) => write!(f, "{}, vouched for by {}", found.identity, found.issuer),
            Self::Key(fingerprint) => write!(f, "the key {fingerprint}"),
        }
    }
}

impl Signature {
    /// Check a keyless bundle against `root`: chain, SCT, signature, log entry and times. Whose it is, is for the
    /// caller to judge.
    pub fn keyless<'a>(
        root: &Root,
        bundle: &Bundle,
        artifact: impl Into<Artifact<'a>>,
    ) -> Result<Self, Refusal> {
        strict::check(root, bundle)?;
        let result = root
            .verifier()
            .verify(artifact, bundle, &VerificationPolicy::any_identity())
            .map_err(|why| Refusal(format!("a signature does not verify: {why}")))?;
        if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) {
            return Err(Refusal(
                "a signature lacks its certificate chain, its SCT or its log entry".to_owned(),
            ));
        }
        let signer = Signer::Certificate(Box::new(Certificate::of(&result)?));
        Ok(Self::new(root, bundle, signer, &result))
    }

    /// Check a bundle that a managed key signed, log entry included.
    pub fn by_key<'a>(
        root: &Root,
        bundle: &Bundle,
        artifact: impl Into<Artifact<'a>>,
        key: &DerPublicKey,
    ) -> Result<Self, Refusal> {
        strict::check(root, bundle)?;
        let result = root
            .verifier()
            .verify(artifact, bundle, &PublicKeyVerificationPolicy::new(key.clone()))
            .map_err(|why| Refusal(format!("a signature does not verify with the key: {why}")))?;
        if !result.tlog_verified() {
            return Err(Refusal("a signature lacks its log entry".to_owned()));
        }
        Ok(Self::new(root, bundle, Signer::Key(fingerprint(key)), &result))
    }

    fn new(root: &Root, bundle: &Bundle, signer: Signer, result: &VerificationResult) -> Self {
        let mut times = result.verified_timestamps().to_vec();
        times.sort();
        times.dedup();
        let entries = bundle.verification_material.tlog_entries.iter().map(|entry| LogEntry {
            log: root.log(&entry.log_id.key_id).map(|log| log.base_url.clone()).unwrap_or_default(),
            index: entry.log_index.get(),
            // Without the log's promise this field is nobody's word.
            integrated: entry.integrated_time.filter(|_| entry.inclusion_promise.is_some()),
        });
        Self { format: bundle.media_type().as_str().to_owned(), signer, times, entries: entries.collect() }
    }

    /// When it was made, at the latest: the earliest time that somebody vouches for. A managed key's may have none.
    pub fn time(&self) -> Option<Timestamp> {
        self.times.first().copied()
    }
}

impl Certificate {
    fn of(result: &VerificationResult) -> Result<Self, Refusal> {
        let found =
            result.certificate().ok_or_else(|| Refusal("a signature has no certificate".to_owned()))?;
        let Some(SubjectAltName::Uri(identity)) = result.identity() else {
            return Err(Refusal("a signature's certificate has no URI name".to_owned()));
        };
        let claims = &found.ci_claims;
        Ok(Self {
            identity: identity.clone(),
            issuer: result.issuer().unwrap_or("nobody").to_owned(),
            not_before: found.not_before,
            not_after: found.not_after,
            source_repository: claims.source_repository_uri.clone(),
            source_ref: claims.source_repository_ref.clone(),
            source_commit: claims.source_repository_digest.clone(),
            run: claims.run_invocation_uri.clone(),
            runner_environment: claims.runner_environment.clone(),
        })
    }
}

/// `sha256:…` of a public key's DER form.
pub fn fingerprint(key: &DerPublicKey) -> String {
    crate::value::ImageDigest::of(key.as_bytes()).to_string()
}
