//! The trusted root: whose certificates, logs and timestamps count.

use std::path::Path;

use jiff::Timestamp;
use sigstore_trust_root::{
    SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT, TransparencyLog, TrustedRoot,
};
use sigstore_verify::{Verifier, types::LogKeyId};

use super::{Error, RootChoice, refresh::Tuf};
use crate::value::ImageDigest;

/// A trusted root, ready to judge.
pub struct Root {
    verifier: Verifier,
    trusted: TrustedRoot,
    about: RootFacts,
}

/// Which root it is: for the receipt.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RootFacts {
    /// `the public Sigstore (embedded)`, or a file.
    pub name: String,
    /// Of the trusted_root.json itself.
    pub digest: ImageDigest,
    /// When TUF last vouched for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshed: Option<Timestamp>,
}

impl Root {
    /// The public Sigstore's root as it was when this program was built: it works without any network.
    pub fn embedded() -> Result<Self, Error> {
        Self::of("the public Sigstore (embedded)", SIGSTORE_PRODUCTION_TRUSTED_ROOT, None)
    }

    /// The root that `choice` names: a file, or the newest one that TUF vouches for and that is kept in `cache`, or
    /// the embedded one. And what a person should know of it.
    pub async fn chosen(choice: &RootChoice, cache: &Path) -> Result<(Self, Option<String>), Error> {
        if let Some(file) = &choice.file {
            return Ok((Self::from_file(file)?, None));
        }
        if choice.pinned {
            return Ok((Self::embedded()?, None));
        }
        let tuf = match &choice.tuf {
            Some((url, bootstrap)) => Tuf::private(url, bootstrap, cache)?,
            None => Tuf::public(cache),
        };
        match tuf.newest().await? {
            Ok(newest) => Ok((Self::of(&newest.name, &newest.json, Some(newest.at))?, newest.complaint)),
            // Somebody's own Sigstore is not embedded here.
            Err(why) if choice.tuf.is_some() => {
                let root = choice.tuf.as_ref().map_or_else(String::new, |(url, _)| url.clone());
                Err(Error::Root { root, why: format!("it cannot be fetched ({why}), and was never before") })
            }
            Err(why) => {
                let complaint =
                    format!("the trusted root is the one built in: it cannot be refreshed ({why})");
                Ok((Self::embedded()?, Some(complaint)))
            }
        }
    }

    /// Sigstore's staging instance, for its conformance suite.
    pub fn staging() -> Result<Self, Error> {
        Self::of("Sigstore's staging instance (embedded)", SIGSTORE_STAGING_TRUSTED_ROOT, None)
    }

    /// A private Sigstore's trusted_root.json.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let unusable =
            |why: String| Error::Root { root: name.clone(), why: format!("{why}; check its path") };
        let json = std::fs::read_to_string(path).map_err(|why| unusable(why.to_string()))?;
        Self::of(&name, &json, None).map_err(|error| match error {
            Error::Root { root, why } => {
                Error::Root { root, why: format!("{why}; name a trusted_root.json instead") }
            }
            other => other,
        })
    }

    pub(super) fn of(name: &str, json: &str, refreshed: Option<Timestamp>) -> Result<Self, Error> {
        let unusable = |why: String| Error::Root { root: name.to_owned(), why };
        let trusted = TrustedRoot::from_json(json).map_err(|why| unusable(why.to_string()))?;
        let verifier = Verifier::new(&trusted).map_err(|why| unusable(why.to_string()))?;
        let digest = ImageDigest::of(json.as_bytes());
        Ok(Self { verifier, trusted, about: RootFacts { name: name.to_owned(), digest, refreshed } })
    }

    pub fn facts(&self) -> &RootFacts {
        &self.about
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The log with this id.
    pub(super) fn log(&self, id: &LogKeyId) -> Option<&TransparencyLog> {
        self.trusted.tlogs.iter().find(|log| log.log_id.key_id == *id)
    }
}
