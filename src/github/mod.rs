//! GitHub's side: who asks, registration tokens, runners, and errors that say what to type next.

mod client;
mod credential;
mod error;
mod runners;

pub use client::GitHub;
pub use credential::{Credential, CredentialError};
pub use error::{Error, Operation};
pub use runners::Runner;
