use std::path::Path;

use regex::bytes::{Regex, RegexBuilder};
use sigstore_verify::types::DerPublicKey;

use super::{Certificate, Error, Refusal, Signature, Signer, blob::read_key, signature::fingerprint};

/// Vega's publish workflow, at a tag.
const VEGA: &str = r"https://github\.com/Ad-Astra-Computing/vega-agent/\.github/workflows/publish-builder-image\.yml@refs/tags/[^/]+";
/// This project's own publish workflow, at a tag.
pub const OURS: &str = r"https://github\.com/Ad-Astra-Computing/vega-builder/\.github/workflows/publish-builder-image\.yml@refs/tags/[^/]+";
/// GitHub's issuer of workflow identities.
pub const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

/// Somebody whose images may run.
#[derive(Debug, Clone)]
pub struct Publisher {
    pub name: String,
    who: Who,
    /// The name that cosign 2's payload must have, when the image is pulled from a mirror.
    pub reference: Option<String>,
    /// The repository for which its workflow may be called, when that is not the workflow's own.
    pub source_repository: Option<String>,
}

/// How a publisher signs.
#[derive(Debug, Clone)]
enum Who {
    /// Keyless: the certificate's URI name must match as a whole, its issuer letter by letter.
    Workflow { identity: Regex, issuer: String },
    /// With a key of their own.
    Key { key: Box<DerPublicKey>, fingerprint: String },
}

impl Publisher {
    /// Who is trusted unless somebody names their own.
    pub fn built_in() -> Vec<Self> {
        [("Vega (built in)", VEGA), ("vega-builder (built in)", OURS)]
            .into_iter()
            .filter_map(|(name, identity)| Self::workflow(name, identity, GITHUB_ISSUER).ok())
            .collect()
    }

    /// `identity` must match the certificate's URI name *as a whole*: an expression without anchors that
    /// matched a part of a longer name would let a stranger's repository in.
    pub fn workflow(name: &str, identity: &str, issuer: &str) -> Result<Self, Error> {
        let identity = whole(identity)
            .map_err(|why| Error::Identity { identity: identity.to_owned(), why: why.to_string() })?;
        let who = Who::Workflow { identity, issuer: issuer.to_owned() };
        Ok(Self { name: name.to_owned(), who, reference: None, source_repository: None })
    }

    /// Who signs with the key whose public half is in the file `key`.
    pub fn key(name: &str, key: &Path) -> Result<Self, Error> {
        let key = read_key(key)?;
        let who = Who::Key { fingerprint: fingerprint(&key), key: Box::new(key) };
        Ok(Self { name: name.to_owned(), who, reference: None, source_repository: None })
    }

    /// The public key, when this publisher signs with one.
    pub(super) fn public_key(&self) -> Option<&DerPublicKey> {
        match &self.who {
            Who::Key { key, .. } => Some(key),
            Who::Workflow { .. } => None,
        }
    }

    /// Whether `signature`, whose cryptography was checked, is this publisher's.
    pub(super) fn made(&self, signature: &Signature) -> Result<(), Refusal> {
        match (&self.who, &signature.signer) {
            (Who::Workflow { identity, issuer }, Signer::Certificate(found)) => {
                if !identity.is_match(found.identity.as_bytes()) {
                    return Err(Refusal(format!("it is signed by {}", found.identity)));
                }
                if found.issuer != *issuer {
                    return Err(Refusal(format!("it is signed by {}", signature.signer)));
                }
                self.expect_source(found)
            }
            (Who::Key { fingerprint, .. }, Signer::Key(found)) if found == fingerprint => Ok(()),
            _ => Err(Refusal(format!("it is signed by {}", signature.signer))),
        }
    }
}

impl Publisher {
    /// A workflow that others may call signs for them under its own name: what it signed must be for its own repository,
    /// or for the one that the policy names.
    fn expect_source(&self, found: &Certificate) -> Result<(), Refusal> {
        let own = found.identity.split_once("/.github/workflows/").map(|(repository, _)| repository);
        let (Some(source), Some(wanted)) =
            (found.source_repository.as_deref(), self.source_repository.as_deref().or(own))
        else {
            return Ok(());
        };
        // GitHub's names have no case.
        if source.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        Err(Refusal(format!(
            "it is signed by {} for {source}, which called that workflow; if you trust {source}, name it as the \
             publisher's source-repository",
            found.identity
        )))
    }
}

/// `given` as an expression that must match a name from its first letter to its last.
///
/// Over bytes: names are ASCII, and all of Unicode's tables would cost more time than the signature.
pub(super) fn whole(given: &str) -> Result<Regex, regex::Error> {
    let build = |expression: &str| RegexBuilder::new(expression).unicode(false).build();
    // By itself first: `a)|(b` would break out of the group that holds it.
    build(given)?;
    build(&format!("^(?:{given})$"))
}

#[cfg(test)]
mod tests {
    use super::{Publisher, Who};

    #[test]
    fn a_pattern_that_breaks_out_of_its_anchors_is_refused() {
        assert!(Publisher::workflow("me", "https://github.com/octo/x)|(.*", "i").is_err());
    }

    #[test]
    fn a_pattern_without_anchors_matches_whole_names_only() {
        let publisher = Publisher::workflow("me", "https://github.com/octo/x|https://github.com/octo/y", "i");
        let Who::Workflow { identity, .. } = publisher.unwrap().who else { panic!() };
        for good in ["https://github.com/octo/x", "https://github.com/octo/y"] {
            assert!(identity.is_match(good.as_bytes()));
        }
        for bad in [
            "https://evil.example/?https://github.com/octo/x",
            "https://github.com/octo/x-evil",
            "https://github.com/octo/y/z",
            "https://github.com/octo/x\nhttps://github.com/octo/y",
        ] {
            assert!(!identity.is_match(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn the_built_in_publishers_are_two() {
        let names: Vec<_> = Publisher::built_in().into_iter().map(|publisher| publisher.name).collect();
        assert_eq!(names, ["Vega (built in)", "vega-builder (built in)"]);
    }
}
