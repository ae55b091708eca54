//! From a Nix store to a binary cache: NARs, narinfos, signatures, and what must not leave.

pub mod compression;
mod error;
mod info;
pub mod key;
pub mod meter;
pub mod narinfo;
pub mod pack;
pub mod place;
pub mod push;
mod retry;
pub mod secrets;
mod store;
pub mod upstream;

pub use error::Error;
pub use info::PathInfo;
pub use store::Store;
