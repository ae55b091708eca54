use std::{fmt, str::FromStr};

use oci_spec::distribution::Reference;

use super::Error;
use crate::value::ImageDigest;

/// An image's name: registry, repository, and a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference(Reference);

impl ImageReference {
    pub fn registry(&self) -> &str {
        self.0.resolve_registry()
    }

    /// The name without tag and digest, as `podman pull NAME@sha256:…` wants it.
    pub fn name(&self) -> String {
        format!("{}/{}", self.0.registry(), self.0.repository())
    }

    pub fn digest(&self) -> Option<ImageDigest> {
        self.0.digest()?.parse().ok()
    }

    /// The same image, by digest.
    #[must_use]
    pub fn pinned(&self, digest: &ImageDigest) -> Self {
        let (registry, repository) = (self.0.registry().to_owned(), self.0.repository().to_owned());
        Self(Reference::with_digest(registry, repository, digest.to_string()))
    }

    /// The tag under which a registry without referrers API lists what refers to `subject`
    /// (distribution specification, "Referrers Tag Schema").
    #[must_use]
    pub fn referrers_tag(&self, subject: &ImageDigest) -> Self {
        let (registry, repository) = (self.0.registry().to_owned(), self.0.repository().to_owned());
        Self(Reference::with_tag(registry, repository, subject.as_str().replace(':', "-")))
    }

    /// The tag under which cosign 2 keeps the signatures of `subject`.
    #[must_use]
    pub fn signature_tag(&self, subject: &ImageDigest) -> Self {
        let (registry, repository) = (self.0.registry().to_owned(), self.0.repository().to_owned());
        Self(Reference::with_tag(registry, repository, format!("{}.sig", subject.as_str().replace(':', "-"))))
    }

    /// Whether the registry is on this machine's loopback: only there plain HTTP is spoken.
    pub fn is_loopback(&self) -> bool {
        let host = self.registry().rsplit_once(':').map_or(self.registry(), |(host, _)| host);
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    pub fn repository(&self) -> &str {
        self.0.repository()
    }

    /// As the registry's API wants it: the digest, else the tag.
    pub fn tag_or_digest(&self) -> &str {
        self.0.digest().or(self.0.tag()).unwrap_or("latest")
    }
}

impl FromStr for ImageReference {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let refuse = |why: String| Error::Reference { given: given.to_owned(), why };
        let reference: Reference = given.parse().map_err(|why| refuse(format!("{why}")))?;
        if reference.repository().chars().any(|c| c.is_ascii_uppercase()) {
            return Err(refuse("a repository's name is in lower case".to_owned()));
        }
        if let Some(digest) = reference.digest() {
            digest.parse::<ImageDigest>().map_err(|why| refuse(why.to_string()))?;
        }
        Ok(Self(reference))
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.digest(), self.0.tag()) {
            (Some(digest), _) => write!(f, "{}@{digest}", self.name()),
            (None, tag) => write!(f, "{}:{}", self.name(), tag.unwrap_or("latest")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ImageReference;

    #[test]
    fn a_digest_wins_over_a_tag_that_stands_beside_it() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let image: ImageReference = format!("ghcr.io/a/b:v1@{digest}").parse().unwrap();
        assert_eq!(image.to_string(), format!("ghcr.io/a/b@{digest}"));
    }

    #[test]
    fn malformed_references_are_refused_with_an_example() {
        for given in ["", "a b", "UPPER/case", "ghcr.io/a/b@sha256:123", "ghcr.io/a/b@sha512:00"] {
            let error = given.parse::<ImageReference>().unwrap_err().to_string();
            assert!(error.contains("is not an image"), "{given}: {error}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        let loopback = |given: &str| given.parse::<ImageReference>().unwrap().is_loopback();
        assert!(loopback("127.0.0.1:5000/a:1"));
        assert!(loopback("localhost:5000/a:1"));
        assert!(!loopback("127.0.0.1.example.org/a:1"));
        assert!(!loopback("10.0.0.1:5000/a:1"));
    }
}
