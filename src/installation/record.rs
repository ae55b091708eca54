use jiff::Timestamp;
use url::Url;

use crate::{
    trust::Evidence,
    value::{Caps, ImageDigest, Labels, Repository, RunnerName},
};

/// What a registration is for: another one of these needs another token, nothing else does.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    pub server: Url,
    pub repository: Repository,
    pub name: RunnerName,
    pub labels: Labels,
}

/// What is known of an installed runner between two commands. No secret is in it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Record {
    pub identity: Identity,
    pub engine: String,
    /// The reference as the person gave it.
    pub image: String,
    /// The digest of the image that runs, and why it was trusted.
    pub digest: ImageDigest,
    pub evidence: Evidence,
    pub caps: Caps,
    /// The first host id of the container's user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userns_base: Option<u32>,
    /// The identity for which the runner's volume holds a registration, as far as we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<Identity>,
    /// A token is on its way in and lapses then: it need not be minted again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_lapses: Option<Timestamp>,
}
