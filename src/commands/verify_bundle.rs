//! `verify-bundle`: the command line of Sigstore's public conformance suite, answered by the verifier that judges
//! images.

use std::{path::PathBuf, process::ExitCode};

use crate::trust::{Root, blob::Expected};

/// Check a Sigstore bundle over a file or a digest, as the public conformance suite asks it
#[derive(Debug, clap::Args)]
pub struct VerifyBundle {
    /// Sigstore's staging instance instead of the public one
    #[arg(long, conflicts_with = "trusted_root")]
    staging: bool,
    /// The bundle
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// The certificate's name, letter by letter
    #[arg(long, value_name = "NAME", requires = "certificate_oidc_issuer", conflicts_with = "key")]
    certificate_identity: Option<String>,
    /// The certificate's issuer, letter by letter
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// A public key, as PEM, instead of a certificate
    #[arg(long, value_name = "FILE", required_unless_present = "certificate_identity")]
    key: Option<PathBuf>,
    /// A trusted_root.json instead of the public Sigstore's
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
    /// What was signed: a file, or the SHA-256 of one as `sha256:…`
    #[arg(value_name = "FILE|DIGEST")]
    artifact: String,
}

impl VerifyBundle {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let root = match &self.trusted_root {
            Some(file) => Root::from_file(file)?,
            None if self.staging => Root::staging()?,
            None => Root::embedded()?,
        };
        let expected = match (&self.key, self.certificate_identity, self.certificate_oidc_issuer) {
            (Some(key), ..) => Expected::key_file(key)?,
            (None, Some(identity), Some(issuer)) => Expected::Certificate { identity, issuer },
            _ => unreachable!("clap asks for one of them"),
        };
        let signature = expected.verify(&root, &self.bundle, &self.artifact)?;
        println!("{}: good, {}", self.artifact, signature.signer);
        Ok(ExitCode::SUCCESS)
    }
}
