use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{ecdsa::SigningKey, elliptic_curve::rand_core::OsRng, pkcs8::EncodePublicKey as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_cert::der::{Encode as _, EncodePem as _, pem::LineEnding};

use super::{
    Flaw,
    bundle::{By, Signing},
    certificate::{AGE, Issuer, public_key},
    log::Tree,
};

/// Who signs: what a certificate says of a workflow.
#[derive(Debug, Clone)]
pub struct Identity {
    pub uri: String,
    pub issuer: String,
    /// The repository that called the workflow, when it is not the workflow's own.
    pub called_for: Option<String>,
}

impl Identity {
    /// Vega's own publish workflow at a release's tag.
    pub fn vega() -> Self {
        Self::github("Ad-Astra-Computing/vega-agent", "publish-builder-image.yml", "refs/tags/v0.18.0")
    }

    /// A workflow on GitHub.
    pub fn github(repository: &str, workflow: &str, reference: &str) -> Self {
        Self {
            uri: format!("https://github.com/{repository}/.github/workflows/{workflow}@{reference}"),
            issuer: "https://token.actions.githubusercontent.com".to_owned(),
            called_for: None,
        }
    }
}

impl Identity {
    /// The repository and the ref of a workflow on GitHub.
    pub fn source(&self) -> Option<(String, String)> {
        let (repository, workflow) = self.uri.split_once("/.github/")?;
        let (_, reference) = workflow.split_once('@')?;
        let repository = self.called_for.clone().unwrap_or_else(|| repository.to_owned());
        Some((repository, reference.to_owned()))
    }
}

/// A private Sigstore's keys and log.
pub struct Authority {
    pub(super) issuer: Issuer,
    pub(super) transparency: SigningKey,
    pub(super) rekor: SigningKey,
    pub(super) tree: Mutex<Tree>,
}

impl Authority {
    pub fn new() -> anyhow::Result<Self> {
        // Older verifiers take the index 0 for a missing one.
        let mut tree = Tree::default();
        tree.add(b"the first entry is nobody's");
        Ok(Self {
            issuer: Issuer::new("fulcio.test")?,
            transparency: SigningKey::random(&mut OsRng),
            rekor: SigningKey::random(&mut OsRng),
            tree: Mutex::new(tree),
        })
    }

    /// What a verifier trusts, as `trusted_root.json`.
    pub fn trusted_root(&self) -> anyhow::Result<String> {
        let start = rfc3339(SystemTime::now() - AGE - Duration::from_secs(60))?;
        let log = |url: &str, key: &SigningKey| -> anyhow::Result<Value> {
            let der = public_key(key)?;
            Ok(json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(&der),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": { "start": start },
                },
                "logId": { "keyId": STANDARD.encode(Sha256::digest(&der)) },
            }))
        };
        let certificate = STANDARD.encode(self.issuer.certificate.to_der()?);
        Ok(json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log("https://rekor.test", &self.rekor)?],
            "certificateAuthorities": [{
                "subject": { "organization": "vega-builder checks", "commonName": "fulcio.test" },
                "uri": "https://fulcio.test",
                "certChain": { "certificates": [{ "rawBytes": certificate }] },
                "validFor": { "start": start },
            }],
            "ctlogs": [log("https://ctfe.test", &self.transparency)?],
            "timestampAuthorities": [],
        })
        .to_string())
    }

    /// The same in the files that older tools want: the certificate authority, the transparency log, Rekor.
    pub fn pem_files(&self) -> anyhow::Result<[(&'static str, String); 3]> {
        Ok([
            ("fulcio.pem", self.issuer.certificate.to_pem(LineEnding::LF)?),
            ("ctfe.pem", self.transparency.verifying_key().to_public_key_pem(LineEnding::LF)?),
            ("rekor.pem", self.rekor.verifying_key().to_public_key_pem(LineEnding::LF)?),
        ])
    }

    /// Sign an image's digest as `identity`, and log it; the bundle's JSON.
    pub fn sign(&self, digest: &str, identity: &Identity) -> anyhow::Result<String> {
        Signing::of(self).bundle(digest, By::Workflow(identity))
    }

    /// The same with one thing wrong.
    pub fn sign_with(&self, digest: &str, identity: &Identity, flaw: Option<Flaw>) -> anyhow::Result<String> {
        Signing { flaw, ..Signing::of(self) }.bundle(digest, By::Workflow(identity))
    }

    /// The same, so long ago.
    pub fn sign_before(&self, digest: &str, identity: &Identity, ago: Duration) -> anyhow::Result<String> {
        Signing { ago, ..Signing::of(self) }.bundle(digest, By::Workflow(identity))
    }

    /// A new key, with its public half in `file`.
    pub fn write_key(file: &std::path::Path) -> anyhow::Result<SigningKey> {
        let key = SigningKey::random(&mut OsRng);
        std::fs::write(file, key.verifying_key().to_public_key_pem(LineEnding::LF)?)?;
        Ok(key)
    }

    /// Sign with a key of one's own, and log it.
    pub fn sign_by_key(&self, digest: &str, key: &SigningKey) -> anyhow::Result<String> {
        Signing::of(self).bundle(digest, By::Key(key))
    }

    /// An attestation of another kind than a signature.
    pub fn attest(
        &self,
        digest: &str,
        identity: &Identity,
        predicate_type: &str,
        predicate: Value,
    ) -> anyhow::Result<String> {
        let says = Some((predicate_type.to_owned(), predicate));
        Signing { says, ..Signing::of(self) }.bundle(digest, By::Workflow(identity))
    }

    pub(super) fn tree(&self) -> std::sync::MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rfc3339(time: SystemTime) -> anyhow::Result<String> {
    Ok(jiff::Timestamp::try_from(time)?.round(jiff::Unit::Second)?.to_string())
}
