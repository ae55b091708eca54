use std::path::PathBuf;

use jiff::Timestamp;
use url::Url;

use crate::{
    config::{AppSettings, GitHubSettings, TrustSettings},
    engine::Layout,
    trust::{Evidence, Vouchers},
    value::{Caps, ImageDigest, Labels, RunnerName, Scope},
};

/// What a registration is for: another one of these needs another token, nothing else does.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    pub server: Url,
    /// Where it is registered.
    #[serde(rename = "repository")]
    pub scope: Scope,
    /// The organisation's group of runners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub name: RunnerName,
    pub labels: Labels,
}

impl Identity {
    /// Whether one registration serves both: GitHub keeps neither the labels' order nor anybody's case.
    pub fn is_same(&self, other: &Self) -> bool {
        self.server == other.server
            && self.scope == other.scope
            && self.group == other.group
            && self.name == other.name
            && self.labels.same_set(&other.labels)
    }
}

/// What is known of a store's volume; it outlives the installation under `down --keep-store`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Store {
    /// The first host id of the user namespace that the volumes' files belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userns_base: Option<u32>,
    /// The image whose store paths are all in the volume. Nothing: the volume may be half filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeded: Option<ImageDigest>,
}

/// What is known of an installed runner between two commands. No secret is in it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Record {
    pub identity: Identity,
    pub engine: String,
    #[serde(default)]
    pub layout: Layout,
    /// The reference as the person gave it.
    pub image: String,
    /// The digest of the image that runs, and why it was trusted.
    pub digest: ImageDigest,
    pub evidence: Evidence,
    /// What that was checked by.
    #[serde(default)]
    pub trust: TrustSettings,
    /// The image in the engine's store; empty in a record of an older version.
    #[serde(default)]
    pub local_id: String,
    /// Whether AppArmor's profile for containers was found to forbid the build sandbox, and lifted.
    #[serde(default)]
    pub unconfined: bool,
    /// Where a GitHub token is read from, unless a flag or a variable says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The layout that the image was taken from, instead of its registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_file: Option<PathBuf>,
    /// The same for a GitHub App.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppSettings>,
    pub caps: Caps,
    /// The identity for which the runner's volume holds a registration, as far as we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<Identity>,
    /// What a person once accepted that strangers can do here: it is shown for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// A token is on its way in and lapses then: it need not be minted again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_lapses: Option<Timestamp>,
}

impl Record {
    /// Where its GitHub is, and who asks it.
    pub fn github(&self) -> GitHubSettings {
        GitHubSettings {
            server: self.identity.server.clone(),
            token_file: self.token_file.clone(),
            app: self.app.clone(),
        }
    }
}

/// That strangers' code may run here, and by which ways.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Accepted {
    pub at: Timestamp,
    pub findings: Vec<String>,
}

/// What was verified, and all that it takes to verify it again where no registry can be asked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Receipt {
    /// The image's name, pinned to what was signed.
    pub image: String,
    /// The manifests, byte by byte: what was signed, and this machine's image.
    pub top: String,
    pub platform: String,
    pub vouchers: Vouchers,
    pub evidence: Evidence,
}
