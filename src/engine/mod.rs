//! podman and docker behind one small trait, driven by their command lines.
//!
//! What differs between them is told by [`Engine`]; what both do alike stands in [`Cli`],
//! in one file for containers, images and volumes each. Only an image
//! that came out of verification can be created: [`Container`] holds a `Verified<ImageDigest>`.

#[cfg(test)]
mod as_the_cluster;
#[cfg(test)]
mod as_the_module;
mod bases;
mod caps;
mod cli;
mod container;
mod containers;
mod detect;
mod docker;
mod error;
mod filler;
mod growth;
mod images;
mod inspected;
mod jobs;
mod layers;
mod linking;
mod podman;
mod pusher;
mod seccomp;
mod usage;
mod volumes;

#[cfg(test)]
pub use as_the_module::for_test;
pub use caps::{InForce, Limit};
pub use cli::{Cli, Engine};
pub use container::{
    Container, Handover, Layout, Slot, UserNamespace, local_name, predecessor_name, preflight_name,
    pusher_name, queue_volume, runner_volume, seeder_name, store_volume, successor_name, trial_name,
};
pub use containers::{CANCELLING, Preflight};
pub use detect::detect;
pub use error::Error;
pub use filler::{FILLER, Filled, MOST_NAMES};
pub use images::LocalImage;
pub use inspected::{Inspected, Status};
pub use jobs::{is_job_of, job_prefix, new_job_name};
pub use pusher::Pusher;
pub use seccomp::SeccompProfile;
pub use usage::Usage;
