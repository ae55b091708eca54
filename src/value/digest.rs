use std::{fmt, str::FromStr};

/// The sha256 of an image's manifest, as registries write it: `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageDigest(String);

#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a digest: expected sha256: and 64 lower-case hexadecimal digits")]
pub struct DigestError(String);

impl ImageDigest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes))))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hex digits without the algorithm.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first twelve digits: enough for a person to recognise it, never enough to act on.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl FromStr for ImageDigest {
    type Err = DigestError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let hex_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        match given.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && hex.bytes().all(hex_digit) => Ok(Self(given.to_owned())),
            _ => Err(DigestError(given.to_owned())),
        }
    }
}

impl TryFrom<String> for ImageDigest {
    type Error = DigestError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<ImageDigest> for String {
    fn from(digest: ImageDigest) -> Self {
        digest.0
    }
}

impl fmt::Display for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ImageDigest;

    #[test]
    fn a_digest_is_that_of_its_bytes() {
        let digest = ImageDigest::of(b"");
        assert_eq!(digest.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.as_str().parse::<ImageDigest>().unwrap(), digest);
    }

    #[test]
    fn other_algorithms_and_forms_are_refused() {
        for given in ["", "sha256:", "sha512:00", &format!("sha256:{}", "A".repeat(64))] {
            assert!(given.parse::<ImageDigest>().is_err(), "{given}");
        }
    }
}
