//! Settings: flags over environment over configuration file, merged into one checked [`Settings`] value.
//!
//! Every value remembers where it came from ([`Origin`]), so that an error names the flag, the variable, or
//! the file with its line and key.

mod file;
mod host;
mod keys;
mod layer;
mod settings;

pub use file::trust_policy;
pub use host::Host;
pub use keys::{CredentialArgs, FileArgs, GitHubArgs, SettingsArgs, TrustArgs};
pub use layer::{Error, Given, Layer, Origin};
pub use settings::{
    EngineChoice, GitHubSettings, ImageSettings, LintSettings, NixSettings, PublisherSettings, Sandbox,
    Settings, TrustSettings,
};
