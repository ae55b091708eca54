//! Whose images may run: a [`Policy`] turns a digest into a [`Verified`] one, and nothing else can.

mod error;
mod policy;
mod statement;
mod verified;

pub use error::{Error, Refusal};
pub use policy::Policy;
pub use verified::{Evidence, Verified};
