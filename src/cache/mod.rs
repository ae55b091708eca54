//! From a Nix store to a binary cache: NARs, narinfos, signatures, and what must not leave.

pub mod compression;
mod error;
mod info;
pub mod key;
pub mod meter;
pub mod narinfo;
pub mod pack;
pub mod place;
pub mod provenance;
pub mod push;
pub mod queue;
mod retry;
pub mod secrets;
pub mod serving;
mod store;
pub mod upstream;
pub mod vega;

pub use error::Error;
pub use info::PathInfo;
pub use store::Store;

fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}
