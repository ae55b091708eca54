//! podman and docker behind one small trait, driven by their command lines.
//!
//! What differs between them is told by [`Engine`]; what both do alike stands in [`Cli`]. Only an image
//! that came out of verification can be created: [`Container`] holds a `Verified<ImageDigest>`.

mod caps;
mod cli;
mod container;
mod detect;
mod docker;
mod error;
mod podman;
mod seccomp;

pub use caps::{InForce, Limit};
pub use cli::{Cli, Engine, Inspected, LocalImage, Status};
pub use container::{Container, Handover, Layout, UserNamespace, store_volume};
pub use detect::detect;
pub use error::Error;
pub use seccomp::SeccompProfile;
