use std::{fmt, str::FromStr};

use super::Error;
use crate::value::ImageDigest;

/// An image's name: registry, repository, and a tag or a digest, in the grammar of
/// <https://pkg.go.dev/github.com/distribution/reference>.
///
/// Read by hand: the crates of the field compile a regular expression for it, which takes 70 ms and 8 MB, more than all
/// else of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    registry: String,
    repository: String,
    version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    Tag(String),
    Digest(ImageDigest),
}

const DOCKER_HUB: &str = "docker.io";

impl ImageReference {
    /// Where its registry is asked: Docker Hub has another name there.
    pub fn registry(&self) -> &str {
        if self.registry == DOCKER_HUB { "index.docker.io" } else { &self.registry }
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The name without tag and digest, as `podman pull NAME@sha256:…` wants it.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    pub fn digest(&self) -> Option<ImageDigest> {
        match &self.version {
            Version::Digest(digest) => Some(digest.clone()),
            Version::Tag(_) => None,
        }
    }

    /// As the registry's API wants it.
    pub fn tag_or_digest(&self) -> &str {
        match &self.version {
            Version::Digest(digest) => digest.as_str(),
            Version::Tag(tag) => tag,
        }
    }

    fn with(&self, version: Version) -> Self {
        Self { version, ..self.clone() }
    }

    /// The same image, by digest.
    #[must_use]
    pub fn pinned(&self, digest: &ImageDigest) -> Self {
        self.with(Version::Digest(digest.clone()))
    }

    /// The tag under which a registry without referrers API lists what refers to `subject`
    /// (distribution specification, "Referrers Tag Schema").
    #[must_use]
    pub fn referrers_tag(&self, subject: &ImageDigest) -> Self {
        self.with(Version::Tag(subject.as_str().replace(':', "-")))
    }

    /// The tag under which cosign 2 keeps the signatures of `subject`.
    #[must_use]
    pub fn signature_tag(&self, subject: &ImageDigest) -> Self {
        self.with(Version::Tag(format!("{}.sig", subject.as_str().replace(':', "-"))))
    }

    /// Whether the tag is one of those under which signatures are kept.
    pub(super) fn is_of_a_referrer(&self) -> bool {
        matches!(&self.version, Version::Tag(tag) if tag.starts_with("sha256-"))
    }

    /// Whether the registry is on this machine's loopback: only there plain HTTP is spoken.
    pub fn is_loopback(&self) -> bool {
        let (host, _) = host_and_port(&self.registry);
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// A registry's host, and its port when it has one.
fn host_and_port(registry: &str) -> (&str, Option<&str>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    }
}

/// `localhost`, `127.0.0.1:5000`, `[::1]:5000`, `ghcr.io`.
fn is_registry(name: &str) -> bool {
    let (host, port) = host_and_port(name);
    let good_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let is_label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !label.is_empty() && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good_host = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(is_label),
    };
    good_port && good_host
}

/// A part of a repository's name: lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(part: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let (first, last) = (part.chars().next(), part.chars().last());
    let separators = part.split(is_letter).filter(|between| !between.is_empty());
    first.is_some_and(is_letter)
        && last.is_some_and(is_letter)
        && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(is_word) && tag.chars().all(|c| is_word(c) || c == '.' || c == '-')
}

impl FromStr for ImageReference {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let refuse = |why: String| Error::Reference { given: given.to_owned(), why };
        let (rest, digest) = match given.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse::<ImageDigest>().map_err(|why| refuse(why.to_string()))?))
            }
            None => (given, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(refuse(format!("'{tag}' is no tag")));
        }
        // The first part is a registry when it looks like a host, else Docker Hub is meant.
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => {
                (if first == "index.docker.io" { DOCKER_HUB } else { first }, rest.to_owned())
            }
            Some(_) => (DOCKER_HUB, name.to_owned()),
            None => (DOCKER_HUB, format!("library/{name}")),
        };
        if !is_registry(registry) {
            return Err(refuse(format!("'{registry}' is no registry's host")));
        }
        if let Some(part) = repository.split('/').find(|part| !is_component(part)) {
            let why = if part.chars().any(|c| c.is_ascii_uppercase()) {
                "a repository's name is in lower case".to_owned()
            } else {
                format!("'{part}' is no part of a repository's name")
            };
            return Err(refuse(why));
        }
        if repository.len() > 255 {
            return Err(refuse("its repository's name is longer than 255 letters".to_owned()));
        }
        let version = match digest {
            Some(digest) => Version::Digest(digest),
            None => Version::Tag(tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self { registry: registry.to_owned(), repository, version })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Digest(digest) => write!(f, "{}@{digest}", self.name()),
            Version::Tag(tag) => write!(f, "{}:{tag}", self.name()),
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
        let long = format!("ghcr.io/{}", "a/".repeat(200));
        for given in [
            "",
            "a b",
            "UPPER/case",
            "ghcr.io/a/b@sha256:123",
            "ghcr.io/a/b@sha512:00",
            "--privileged",
            "-v/:/host:latest",
            "ghcr.io/a/../b",
            "ghcr.io//b",
            "ghcr.io/a/",
            "ghcr.io/a._b",
            "ghcr.io/a/b:",
            "ghcr.io/a/b:-x",
            "ghcr.io/a/b\n",
            "localhost:99999/a",
            "-evil.example/a",
            "user@ghcr.io/a",
            "[::1/a",
            long.as_str(),
        ] {
            let error = given.parse::<ImageReference>().unwrap_err().to_string();
            assert!(error.contains("is not an image"), "{given}: {error}");
        }
    }

    #[test]
    fn names_are_read_as_podman_and_docker_read_them() {
        for (given, name, rest) in [
            ("ubuntu", "docker.io/library/ubuntu", "latest"),
            ("octo/image:v1", "docker.io/octo/image", "v1"),
            ("localhost/x", "localhost/x", "latest"),
            ("localhost:5000/x/y:z", "localhost:5000/x/y", "z"),
            ("[::1]:5000/x", "[::1]:5000/x", "latest"),
            ("index.docker.io/octo/image", "docker.io/octo/image", "latest"),
            ("ghcr.io/a__b/c--d/e.f:_1.2-3", "ghcr.io/a__b/c--d/e.f", "_1.2-3"),
        ] {
            let image: ImageReference = given.parse().unwrap();
            assert_eq!((image.name().as_str(), image.tag_or_digest()), (name, rest), "{given}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        let loopback = |given: &str| given.parse::<ImageReference>().unwrap().is_loopback();
        assert!(loopback("127.0.0.1:5000/a:1"));
        assert!(loopback("localhost:5000/a:1"));
        assert!(loopback("[::1]:5000/a:1"));
        assert!(!loopback("localhost.example.org/a:1"));
        assert!(!loopback("127.0.0.1.example.org/a:1"));
        assert!(!loopback("10.0.0.1:5000/a:1"));
    }
}
