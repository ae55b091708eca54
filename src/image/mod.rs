//! Images in a registry: references, manifests by digest, and the Sigstore bundles that refer to them.

mod error;
mod manifest;
mod reference;
mod registry;

pub use error::Error;
pub use manifest::{Manifest, Resolved};
pub use reference::ImageReference;
pub use registry::Registry;
