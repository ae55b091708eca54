//! Images in a registry, or in a layout on this machine: references, manifests by digest, and what refers to them.

mod error;
mod layout;
mod login;
mod manifest;
mod reference;
mod registry;
mod token;
mod transport;

pub use error::Error;
pub use layout::Layout;
pub use manifest::{Manifest, Resolved};
pub use reference::ImageReference;
pub use registry::Registry;
