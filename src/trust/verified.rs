use jiff::Timestamp;

use crate::value::ImageDigest;

/// Something whose signature was checked. Only [`super::Policy`] makes one, and only `Verified` things run.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    value: T,
    evidence: Evidence,
}

/// What the check rested on: for the receipt, and for the person who asks why an image is trusted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// The digest that the signature names: the manifest list, or the image itself.
    pub signed: ImageDigest,
    /// The certificate's URI name.
    pub identity: String,
    pub issuer: String,
    /// When the transparency log took the signature in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged: Option<Timestamp>,
    /// Whether the platform's own manifest was signed too, and checked.
    pub platform_signed: bool,
    /// Which trusted root the chain ends in: `sigstore public good`, or a file.
    pub root: String,
    pub verified_at: Timestamp,
}

impl<T> Verified<T> {
    pub(super) fn new(value: T, evidence: Evidence) -> Self {
        Self { value, evidence }
    }

    pub fn value(&self) -> &T {
        &self.value
    }

    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}
