use std::path::Path;

use jiff::Timestamp;
use regex::Regex;
use sigstore_trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use sigstore_verify::{
    SubjectAltName, VerificationPolicy, Verifier,
    types::{Bundle, Sha256Hash},
};

use super::{
    Error, Evidence, Refusal, Verified,
    statement::{Claim, claim},
};
use crate::value::ImageDigest;

/// Whose signature counts: a regular expression over the certificate's URI name, one issuer, one root.
pub struct Policy {
    identity: Regex,
    issuer: String,
    verifier: Verifier,
    root: String,
}

/// One good signature.
struct Good {
    identity: String,
    logged: Option<Timestamp>,
}

impl Policy {
    /// `identity` must match the certificate's URI name *as a whole*: an expression without anchors that
    /// matched a part of a longer name would let a stranger's repository in.
    pub fn new(identity: &str, issuer: &str, trusted_root: Option<&Path>) -> Result<Self, Error> {
        let whole = Regex::new(&format!("^(?:{identity})$"))
            .map_err(|why| Error::Identity { identity: identity.to_owned(), why: why.to_string() })?;
        let name = trusted_root
            .map_or("the public Sigstore (embedded)".to_owned(), |path| path.display().to_string());
        let unusable = |why: String| Error::Root { root: name.clone(), why };
        let root = match trusted_root {
            None => TrustedRoot::from_json(SIGSTORE_PRODUCTION_TRUSTED_ROOT),
            Some(path) => {
                let json = std::fs::read_to_string(path).map_err(|why| unusable(why.to_string()))?;
                TrustedRoot::from_json(&json)
            }
        };
        let root = root.map_err(|why| unusable(why.to_string()))?;
        let verifier = Verifier::new(&root).map_err(|why| unusable(why.to_string()))?;
        Ok(Self { identity: whole, issuer: issuer.to_owned(), verifier, root: name })
    }

    /// Check `top` against the bundles that refer to it; the image that runs is `platform`: `top` itself,
    /// or an image that the list `top` names by digest (so the list's signature covers it). Signatures that
    /// `platform` has of its own must be good too.
    pub fn verify(
        &self,
        top: &ImageDigest,
        bundles: &[Vec<u8>],
        platform: &ImageDigest,
        platform_bundles: &[Vec<u8>],
    ) -> Result<Verified<ImageDigest>, Error> {
        let good = self.one_good(top, bundles).map_err(|refusals| match refusals {
            None => Error::Unsigned { digest: top.clone() },
            Some(refusals) => Error::Refused { digest: top.clone(), refusals },
        })?;
        let mut platform_signed = platform == top;
        if platform != top {
            match self.one_good(platform, platform_bundles) {
                Ok(_) => platform_signed = true,
                Err(None) => {}
                Err(Some(refusals)) => {
                    return Err(Error::PlatformRefused { digest: platform.clone(), refusals });
                }
            }
        }
        let evidence = Evidence {
            signed: top.clone(),
            identity: good.identity,
            issuer: self.issuer.clone(),
            logged: good.logged,
            platform_signed,
            root: self.root.clone(),
            verified_at: Timestamp::now(),
        };
        Ok(Verified::new(platform.clone(), evidence))
    }

    /// The first bundle that vouches for `digest`; `None` as the error when none even claims to sign it.
    ///
    /// Anybody who may push to the repository can add a bad bundle, so bad ones beside a good one are
    /// passed over, as cosign does.
    fn one_good(&self, digest: &ImageDigest, bundles: &[Vec<u8>]) -> Result<Good, Option<Vec<Refusal>>> {
        let mut refusals = Vec::new();
        for bundle in bundles {
            match self.check(digest, bundle) {
                Ok(Some(good)) => return Ok(good),
                Ok(None) => {}
                Err(refusal) => refusals.push(refusal),
            }
        }
        Err((!refusals.is_empty()).then_some(refusals))
    }

    /// `Ok(None)`: a bundle of another kind, which neither helps nor harms.
    fn check(&self, digest: &ImageDigest, bundle: &[u8]) -> Result<Option<Good>, Refusal> {
        let text = std::str::from_utf8(bundle).map_err(|_| Refusal("a bundle is not text".to_owned()))?;
        let bundle =
            Bundle::from_json(text).map_err(|why| Refusal(format!("a bundle cannot be read: {why}")))?;
        if let Claim::Other = claim(&bundle, digest)? {
            return Ok(None);
        }
        let hash = Sha256Hash::from_hex(digest.hex()).map_err(|why| Refusal(why.to_string()))?;
        let result = self
            .verifier
            .verify(hash, &bundle, &VerificationPolicy::any_identity())
            .map_err(|why| Refusal(format!("a signature does not verify: {why}")))?;
        if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) {
            return Err(Refusal(
                "a signature lacks its certificate chain, its SCT or its log entry".to_owned(),
            ));
        }
        let identity = match result.identity() {
            Some(SubjectAltName::Uri(uri)) => uri.clone(),
            _ => return Err(Refusal("a signature's certificate has no URI name".to_owned())),
        };
        if !self.identity.is_match(&identity) {
            return Err(Refusal(format!("it is signed by {identity}")));
        }
        match result.issuer() {
            Some(issuer) if issuer == self.issuer => {}
            other => {
                let issuer = other.unwrap_or("nobody");
                return Err(Refusal(format!("it is signed by {identity}, but vouched for by {issuer}")));
            }
        }
        Ok(Some(Good { identity, logged: result.integrated_time() }))
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;
    use crate::trust::Error;

    #[test]
    fn the_embedded_root_works_offline() {
        Policy::new(".*", "https://token.actions.githubusercontent.com", None).unwrap();
    }

    #[test]
    fn a_pattern_without_anchors_matches_whole_names_only() {
        let policy = Policy::new("https://github.com/octo/x", "i", None).unwrap();
        assert!(policy.identity.is_match("https://github.com/octo/x"));
        assert!(!policy.identity.is_match("https://evil.example/?https://github.com/octo/x"));
        assert!(!policy.identity.is_match("https://github.com/octo/x-evil"));
    }

    #[test]
    fn a_digest_without_bundles_is_unsigned() {
        let policy = Policy::new(".*", "i", None).unwrap();
        let digest = crate::value::ImageDigest::of(b"x");
        assert!(matches!(policy.verify(&digest, &[], &digest, &[]), Err(Error::Unsigned { .. })));
    }

    #[test]
    fn bytes_that_are_no_bundle_are_refused_not_passed_over() {
        let policy = Policy::new(".*", "i", None).unwrap();
        let digest = crate::value::ImageDigest::of(b"x");
        let bundles = [b"{}".to_vec(), vec![0xff]];
        assert!(matches!(policy.verify(&digest, &bundles, &digest, &[]), Err(Error::Refused { .. })));
    }
}
