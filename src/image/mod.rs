//! Images in a registry: references, manifests by digest, and what refers to them.

mod error;
mod login;
mod manifest;
mod reference;
mod registry;
mod token;
mod transport;

pub use error::Error;
pub use manifest::{Manifest, Resolved};
pub use reference::ImageReference;
pub use registry::Registry;
