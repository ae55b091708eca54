//! Settings: flags over environment over configuration file, merged into one checked [`Settings`] value.
//!
//! Every value remembers where it came from ([`Origin`]), so that an error names the flag, the variable, or
//! the file with its line and key.

mod args;
mod cache;
mod caps;
mod choices;
mod declaration;
mod file;
mod github;
mod host;
mod keys;
mod layer;
mod settings;
mod slots;
mod trust;
mod updates;

pub use args::{CredentialArgs, FileArgs, GitHubArgs, SettingsArgs, TrustArgs};
pub use cache::{CacheSettings, PusherSettings, Wait};
pub use choices::{EngineChoice, Sandbox};
pub use file::trust_policy;
pub use github::{AppSettings, GitHubSettings};
pub use host::Host;
pub use layer::{Error, Given, Layer, Origin};
pub use settings::{LintSettings, NixSettings, Settings};
pub use slots::JobStore;
pub use trust::{ImageSettings, PublisherSettings, TrustSettings};
pub use updates::{CalendarEvent, UpdateSettings};
