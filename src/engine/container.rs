use std::{collections::BTreeMap, path::PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{
    trust::Verified,
    value::{Caps, ImageDigest, RunnerName},
};

/// What an image promises of its inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Ours: volumes over /nix and the runner's root, the handover folder, seeding.
    Contract,
    /// Vega's published contract: a shell entrypoint, the token at /home/runner/.runner-token, no volumes.
    Foreign,
}

/// The ids of the host that the container's 0–65535 are; docker has none per container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UserNamespace {
    pub base: u32,
}

impl UserNamespace {
    pub const SIZE: u32 = 65536;
}

/// The folder on the host's tmpfs through which the token goes in and the state comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover(pub PathBuf);

/// A container to create: a verified image, its caps, and everything else that makes it this one.
#[derive(Debug, Clone)]
pub struct Container {
    pub name: RunnerName,
    pub image: Verified<ImageDigest>,
    /// The image's name in the registry, without tag and digest.
    pub image_name: String,
    /// The digest of the image's configuration, from its verified manifest.
    pub image_id: ImageDigest,
    pub layout: Layout,
    pub caps: Caps,
    pub network: Option<String>,
    pub env: BTreeMap<&'static str, String>,
    pub userns: Option<UserNamespace>,
    pub handover: Handover,
    pub seccomp: PathBuf,
}

/// The label on the container that tells whether it is still what the settings ask for.
pub const FINGERPRINT_LABEL: &str = "dev.vega.builder.fingerprint";
/// The label that says a container, volume or folder is ours to remove.
pub const INSTANCE_LABEL: &str = "dev.vega.builder.instance";

/// The volume that holds a runner's Nix store.
pub fn store_volume(name: &RunnerName) -> String {
    format!("{name}-store")
}

impl Container {
    pub fn store_volume(&self) -> String {
        store_volume(&self.name)
    }

    pub fn runner_volume(&self) -> String {
        format!("{}-runner", self.name)
    }

    /// The image as the engine is told to run it: by digest, never by tag.
    pub fn pinned(&self) -> String {
        format!("{}@{}", self.image_name, self.image.value())
    }

    /// A hash of everything that is fixed when the container is created; another one means: create anew.
    pub fn fingerprint(&self, arguments: &[String]) -> String {
        let mut hash = Sha256::new();
        for argument in arguments {
            hash.update(argument.as_bytes());
            hash.update([0]);
        }
        hex::encode(hash.finalize())
    }
}
