//! GitHub's side: who asks, registration tokens, runners, a repository's files and settings, and errors that say what to
//! type next.

mod client;
mod contents;
mod credential;
mod error;
mod runners;
mod settings;

pub use client::GitHub;
pub use contents::{Branch, Content, Entry};
pub use credential::{Credential, CredentialError};
pub use error::{Error, Operation};
pub use runners::Runner;
pub use settings::VisibleRepository;
