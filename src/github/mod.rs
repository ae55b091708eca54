//! GitHub's side: who asks, registration tokens, runners, a repository's files and settings, and errors that say what to
//! type next.

mod app;
mod client;
pub mod clock;
mod contents;
mod credential;
mod error;
mod jit;
mod organizations;
mod runners;
mod runs;
mod settings;

pub use client::{GitHub, Subject};
pub use contents::{Branch, Content, Entry};
pub use credential::{Credential, CredentialError};
pub use error::{Error, Operation};
pub use jit::JitRunner;
pub use organizations::Group;
pub use runners::{EndOfLife, Runner};
pub use runs::WorkflowJob;
pub use settings::VisibleRepository;
