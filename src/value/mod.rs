//! Plain values that domains share: small, checked at the border, and free of behaviour beyond their form.

mod address;
mod attachment;
mod caps;
mod digest;
mod labels;
mod origin;
mod repository;
mod scope;
mod secret;
mod settings;
mod size;
mod span;

pub use address::is_loopback;
pub use attachment::Attachment;
pub use caps::{Caps, Cpus};
pub use digest::ImageDigest;
pub use labels::{Labels, RunnerName};
pub use origin::{BuildOrigin, ImageOrigin, Origins};
pub use repository::{Repository, RepositoryError};
pub use scope::{Organization, Scope};
pub use secret::RegistrationToken;
pub use settings::{Approval, ForkRuns, RepositorySettings, RunnerGroup, TokenDefault};
pub use size::ByteSize;
pub use span::Span;
