use serde::{Deserialize, Serialize};

use super::Caps;

/// The runner that builds: what its host has verified, and what it is held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOrigin {
    /// The runner's name at GitHub.
    pub runner: String,
    /// The repository, or the organisation, whose jobs it takes.
    pub scope: String,
    pub image: String,
    /// `sha256:…`, as it was verified.
    pub digest: String,
    /// Whose signature the image has.
    pub signer: String,
    pub caps: Caps,
}
