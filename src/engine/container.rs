use std::{collections::BTreeMap, path::PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{
    trust::Verified,
    value::{Caps, ImageDigest, RunnerName, Span},
};

/// What an image promises of its inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Ours: volumes over /nix and the runner's root, the handover folder, seeding.
    #[default]
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

/// Whose container it is that takes one job and ends: a runner's, in one of its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub runner: RunnerName,
    pub number: u32,
}

/// A container to create: a verified image, its caps, and everything else that makes it this one.
#[derive(Debug, Clone)]
pub struct Container {
    pub name: RunnerName,
    pub image: Verified<ImageDigest>,
    /// The image's name in the registry, without tag and digest.
    pub image_name: String,
    /// The image in the engine's store, as 64 hex digits: compared with the verified manifest, and what the
    /// container is made of. A name could be given to another image in between.
    pub local_id: String,
    pub layout: Layout,
    pub caps: Caps,
    pub network: Option<String>,
    /// How long a running job may go on when it is stopped.
    pub patience: Span,
    pub env: BTreeMap<&'static str, String>,
    pub userns: Option<UserNamespace>,
    pub handover: Handover,
    pub seccomp: PathBuf,
    /// Whether AppArmor's default profile for containers is lifted, because no build could be sandboxed in it.
    pub unconfined: bool,
    /// systemd's, where the engine puts containers into its slices, and no unit's file says it.
    pub slice: Option<String>,
    /// Nothing: the runner's own, which stays.
    pub slot: Option<Slot>,
}

/// The label on the container that tells whether it is still what the settings ask for.
pub const FINGERPRINT_LABEL: &str = "dev.vega.builder.fingerprint";
/// The label that says a container, volume or folder is ours to remove.
pub const INSTANCE_LABEL: &str = "dev.vega.builder.instance";

/// The label that says in which of its runner's slots a container takes its one job.
pub const SLOT_LABEL: &str = "dev.vega.builder.slot";

/// The volume that holds a runner's Nix store.
pub fn store_volume(name: &RunnerName) -> String {
    format!("{name}-store")
}

/// The volume that holds a runner's builds on their way to a cache.
pub fn queue_volume(name: &RunnerName) -> String {
    format!("{name}-queue")
}

/// The container that pushes a runner's builds.
pub fn pusher_name(name: &RunnerName) -> String {
    format!("{name}.pusher")
}

/// The volume that holds a runner's registration.
pub fn runner_volume(name: &RunnerName) -> String {
    format!("{name}-runner")
}

/// The name under which units run a runner's verified image; no registry serves it.
pub fn local_name(name: &RunnerName) -> String {
    format!("localhost/vega-builder:{name}")
}

/// The container that will take a runner's place, between its creation and its renaming.
pub fn successor_name(name: &RunnerName) -> String {
    format!("{name}.next")
}

/// The container whose place was taken, until the other one has shown that it works.
pub fn predecessor_name(name: &RunnerName) -> String {
    format!("{name}.before")
}

/// The one-shot container that proves that an image would work here.
pub fn preflight_name(name: &RunnerName) -> String {
    format!("{name}.preflight")
}

/// The one-shot container that tries whether a sandbox can be made here.
pub fn trial_name(name: &RunnerName) -> String {
    format!("{name}.trial")
}

/// The one-shot container that adds store paths to a runner's store.
pub fn seeder_name(name: &RunnerName) -> String {
    format!("{name}.seed")
}

impl Container {
    /// The runner that it is a part of: its own, or that whose slot it fills.
    pub fn instance(&self) -> &RunnerName {
        self.slot.as_ref().map_or(&self.name, |slot| &slot.runner)
    }

    pub fn store_volume(&self) -> String {
        store_volume(&self.name)
    }

    pub fn runner_volume(&self) -> String {
        runner_volume(&self.name)
    }

    /// What a container is called that will take this one's place.
    pub fn successor_name(&self) -> String {
        successor_name(&self.name)
    }

    /// The one-shot container that adds store paths.
    pub fn seeder_name(&self) -> String {
        seeder_name(&self.name)
    }

    /// A hash of everything that is fixed when the container is created; another one means: create anew.
    pub fn fingerprint(&self, arguments: &[String]) -> String {
        let mut hash = Sha256::new();
        for argument in arguments {
            hash.update(argument.as_bytes());
            hash.update([0]);
        }
        // The profile's place stays the same when its content changes with the system's package.
        hash.update(std::fs::read(&self.seccomp).unwrap_or_default());
        hex::encode(hash.finalize())
    }
}
