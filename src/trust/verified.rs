use jiff::Timestamp;

use super::{Provenance, RootFacts, Signature, Signer};
use crate::value::{Attachment, ImageDigest};

/// Something whose signature was checked. Only [`super::Policy`] makes one, and only `Verified` things run.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    value: T,
    evidence: Evidence,
    vouchers: Vouchers,
}

/// The signatures and the provenance that a check rests on, as the registry had them: enough to check again without it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Vouchers {
    pub top: Vec<Attachment>,
    pub platform: Vec<Attachment>,
}

/// What the check rested on: for the receipt, and for the person who asks why an image is trusted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// The digest that the signature names: the manifest list, or the image itself.
    pub signed: ImageDigest,
    /// The name of the policy's publisher whose signature it is.
    pub publisher: String,
    pub signature: Signature,
    /// Whether the platform's own manifest was signed too, and checked.
    pub platform_signed: bool,
    /// The version for which the signing certificate was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where the image was built, as far as its publisher says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provenance: Vec<Provenance>,
    /// `built in`, or the policy's file.
    pub policy: String,
    pub root: RootFacts,
    pub verified_at: Timestamp,
}

impl Vouchers {
    /// Add what is not among them yet.
    pub fn add(&mut self, others: Self) {
        for (own, others) in [(&mut self.top, others.top), (&mut self.platform, others.platform)] {
            for one in others {
                if !own.contains(&one) {
                    own.push(one);
                }
            }
        }
    }
}

impl Evidence {
    /// Who signed: the certificate's name, or the key.
    pub fn signer(&self) -> String {
        match &self.signature.signer {
            Signer::Certificate(certificate) => certificate.identity.clone(),
            key @ Signer::Key(_) => key.to_string(),
        }
    }

    /// When it was signed, as far as somebody vouches for it.
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.signature.time()
    }
}

impl Evidence {
    /// Whether this may be of an older image than `other` is of: by one publisher's versions, else by when it was
    /// signed. What cannot be told counts as older: whoever may push can leave a time out.
    pub fn may_be_older_than(&self, other: &Self) -> bool {
        if self.signed == other.signed {
            return false;
        }
        let version = |evidence: &Self| evidence.version.as_deref().and_then(super::version::parse);
        match (version(self), version(other)) {
            (Some(new), Some(old)) if new != old && self.publisher == other.publisher => new < old,
            _ => !matches!((self.signed_at(), other.signed_at()), (Some(new), Some(old)) if new >= old),
        }
    }

    /// `version 0.18.0, signed 2026-01-02`: enough to tell two images apart.
    pub fn age(&self) -> String {
        let version = self.version.as_ref().map(|version| format!("version {version}, "));
        let time =
            self.signed_at().map_or("at a time that nobody vouches for".to_owned(), super::chain::minute);
        format!("{}signed {time}", version.unwrap_or_default())
    }
}

impl<T> Verified<T> {
    pub(super) fn new(value: T, evidence: Evidence, vouchers: Vouchers) -> Self {
        Self { value, evidence, vouchers }
    }

    /// Something that nobody checked, for tests of what is made of it.
    #[cfg(test)]
    pub fn for_test(value: T) -> Self {
        let digest = format!("sha256:{}", "0".repeat(64));
        let evidence = serde_json::json!({
            "signed": digest,
            "publisher": "nobody",
            "signature": { "format": "none", "signer": { "key": "none" }, "times": [], "entries": [] },
            "platform_signed": false,
            "policy": "none",
            "root": { "name": "none", "digest": digest },
            "verified_at": Timestamp::UNIX_EPOCH,
        });
        let evidence = serde_json::from_value(evidence).unwrap_or_else(|why| unreachable!("{why}"));
        Self { value, evidence, vouchers: Vouchers::default() }
    }

    pub fn value(&self) -> &T {
        &self.value
    }

    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    pub fn vouchers(&self) -> &Vouchers {
        &self.vouchers
    }
}
