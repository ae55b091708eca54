//! What an update leaves behind: the way back, and what it should not try again by itself.

use jiff::Timestamp;

use super::{
    Error, Receipt, Record,
    locked::Locked,
    places::{Installation, UPDATES},
};
use crate::value::ImageDigest;

#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Updates {
    /// What ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// An image that worked here.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Previous {
    pub record: Record,
    pub receipt: Option<Receipt>,
}

/// An image that did not, or that somebody went back from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Refused {
    pub digest: ImageDigest,
    pub at: Timestamp,
    pub why: String,
}

impl Installation {
    pub fn updates(&self) -> Result<Updates, Error> {
        Ok(self.read(UPDATES)?.unwrap_or_default())
    }
}

impl Locked {
    pub fn save_updates(&self, updates: &Updates) -> Result<(), Error> {
        self.replace(UPDATES, updates)
    }
}
