//! A bundle over a file or a digest, outside any registry: what the public conformance suite asks.

use std::{fs, path::Path};

use sigstore_verify::types::{Bundle, DerPublicKey, Sha256Hash};

use super::{Error, Root, Signature, Signer};

/// Whose signature is expected.
pub enum Expected {
    Certificate { identity: String, issuer: String },
    Key(DerPublicKey),
}

impl Expected {
    /// The public key in a PEM file.
    pub fn key_file(path: &Path) -> Result<Self, Error> {
        Ok(Self::Key(read_key(path)?))
    }

    /// Check the bundle in the file `bundle` over `artifact`: a file, or `sha256:…`.
    pub fn verify(&self, root: &Root, bundle: &Path, artifact: &str) -> Result<Signature, Error> {
        let refuse = |why: String| Error::Bundle { bundle: bundle.display().to_string(), why };
        let text = fs::read_to_string(bundle).map_err(|why| refuse(why.to_string()))?;
        let parsed = Bundle::from_json(&text).map_err(|why| refuse(why.to_string()))?;
        let digest = match artifact.strip_prefix("sha256:") {
            Some(hex) if !Path::new(artifact).exists() => {
                Some(Sha256Hash::from_hex(hex).map_err(|why| refuse(format!("{artifact}: {why}")))?)
            }
            _ => None,
        };
        let bytes = match digest {
            Some(_) => vec![],
            None => fs::read(artifact).map_err(|why| refuse(format!("{artifact}: {why}")))?,
        };
        let judged = match (self, digest) {
            (Self::Key(key), Some(digest)) => Signature::by_key(root, &parsed, digest, key),
            (Self::Key(key), None) => Signature::by_key(root, &parsed, bytes.as_slice(), key),
            (Self::Certificate { .. }, Some(digest)) => Signature::keyless(root, &parsed, digest),
            (Self::Certificate { .. }, None) => Signature::keyless(root, &parsed, bytes.as_slice()),
        };
        let signature = judged.map_err(|refusal| refuse(refusal.to_string()))?;
        if let (Self::Certificate { identity, issuer }, Signer::Certificate(found)) =
            (self, &signature.signer)
            && (found.identity != *identity || found.issuer != *issuer)
        {
            return Err(refuse(format!("it is signed by {}", signature.signer)));
        }
        Ok(signature)
    }
}

/// A public key as PEM.
pub fn read_key(path: &Path) -> Result<DerPublicKey, Error> {
    let unusable = |why: String| Error::Key { key: path.display().to_string(), why };
    let pem = fs::read_to_string(path).map_err(|why| unusable(why.to_string()))?;
    DerPublicKey::from_pem(&pem).map_err(|why| unusable(why.to_string()))
}
