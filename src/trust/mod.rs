//! Whose images may run: a [`Policy`] turns a digest into a [`Verified`] one, and nothing else can.

pub mod blob;
mod chain;
mod error;
mod policy;
mod provenance;
mod publisher;
mod refresh;
mod root;
mod rules;
mod signature;
mod simple_signing;
mod statement;
mod strict;
mod verified;
mod version;

pub use chain::{Link, chain};
pub use error::{Error, Refusal};
pub use policy::{Candidate, Policy, is_signature};
pub use provenance::Provenance;
#[cfg(test)]
pub use publisher::OURS;
pub use publisher::{GITHUB_ISSUER, Publisher};
pub use root::{Root, RootFacts};
pub use rules::{RootChoice, Rules};
pub use signature::{Certificate, LogEntry, Signature, Signer};
pub use verified::{Evidence, Verified, Vouchers};
