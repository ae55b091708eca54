//! Whose images may run: a [`Policy`] turns a digest into a [`Verified`] one, and nothing else can.

pub mod blob;
mod error;
mod policy;
mod root;
mod signature;
mod statement;
mod verified;

pub use error::{Error, Refusal};
pub use policy::Policy;
pub use root::{Root, RootFacts};
pub use signature::{Certificate, LogEntry, Signature, Signer};
pub use verified::{Evidence, Verified};
