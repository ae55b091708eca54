//! A runner that a file declares, and whose container a unit makes anew at every start: what is known of it.

use std::{
    fs::File,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{container::environment, housing::Housing, record, token::login};
use crate::{
    config::{AppSettings, GitHubSettings, Host, Settings},
    engine::{Cli, Layout},
    github::Credential,
    installation::{self, Identity, Installation, Places},
    runner::{Environment, Program, Registration},
};

/// The credential's name in the unit's `LoadCredential=`: a GitHub token, or a GitHub App's private key.
pub const TOKEN: &str = "github-token";
pub const APP_KEY: &str = "github-app-key";

/// The declaration, read and checked against this host.
pub struct Declared {
    pub settings: Settings,
    pub housing: Housing,
}

impl Declared {
    pub fn read(installation: &Installation) -> anyhow::Result<Self> {
        let host = Host::read().context("the host's memory and processors cannot be read from /proc")?;
        let settings = Settings::declared(&installation.declaration, &installation.name, &host)?;
        Ok(Self { housing: Housing::of(&settings)?, settings })
    }

    /// The same on a machine that has become too small for its caps: for who takes it away, or gives it others.
    pub fn whatever_its_caps(installation: &Installation) -> anyhow::Result<Self> {
        let settings = Settings::declared(&installation.declaration, &installation.name, &Host::BOUNDLESS)?;
        Ok(Self { housing: Housing::of(&settings)?, settings })
    }

    /// The engine, for what is about containers.
    pub fn engine(&self) -> Result<&Cli, installation::Error> {
        self.housing.expect_engine(&self.settings.name)
    }

    /// Which registration it wants.
    pub fn identity(&self) -> Identity {
        record::identity(&self.settings)
    }

    /// Whether its volume holds a registration for just that. The container is gone between two lives, so the volume
    /// itself is looked at: no note of ours could be as true.
    pub fn is_registered(&self) -> anyhow::Result<bool> {
        let here = Places::standard().installation(&self.settings.name);
        let Some(place) = self.housing.root(&here)? else { return Ok(false) };
        let variables = environment(&self.settings, Layout::Contract);
        let mut environment = Environment::read(|name| variables.get(name).cloned())
            .context("the image would not take these settings")?;
        environment.quarters.root = place;
        Ok(Registration::new(&environment, &Program::in_folder(Path::new("/"))).is_saved())
    }

    /// Why a start would come to nothing: neither a registration nor a way to one.
    pub fn lacks(&self, installation: &Installation) -> anyhow::Result<Option<String>> {
        // systemd hands credentials to the start alone, not to the condition before it: what is declared counts.
        let has_credential = self.settings.github.token_file.is_some() || self.settings.github.app.is_some();
        if self.is_registered()? || installation.has_fresh_token() || has_credential {
            return Ok(None);
        }
        let (name, repository) = (&self.settings.name, &self.settings.scope);
        Ok(Some(format!(
            "{name} has no registration at {repository} and no token for one: type `vega-builder register {name}`"
        )))
    }

    /// Where its GitHub is, and where the credential lies for this process.
    pub fn github(&self) -> GitHubSettings {
        let settings = &self.settings.github;
        let app = settings
            .app
            .as_ref()
            .map(|app| AppSettings { id: app.id.clone(), key_file: at_hand(&app.key_file, APP_KEY) });
        GitHubSettings {
            server: settings.server.clone(),
            token_file: settings.token_file.as_deref().map(|file| at_hand(file, TOKEN)),
            app,
        }
    }

    /// The unit's own credential, where it has one.
    pub async fn credential(&self) -> anyhow::Result<Option<Credential>> {
        let github = self.github();
        if github.token_file.is_none() && github.app.is_none() {
            return Ok(None);
        }
        login(&github, &self.settings.scope).await.map(Some)
    }
}

/// Where it is declared to be, because systemd's copy is that of the unit's start, and a credential is replaced; systemd's
/// where this process may not read the other.
fn at_hand(declared: &Path, name: &str) -> PathBuf {
    let copy = || Some(Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?).join(name));
    // One that others may read is not to be used as it is.
    let is_open = |file: File| file.metadata().is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    if File::open(declared).is_ok_and(|file| !is_open(file)) {
        return declared.to_owned();
    }
    copy().filter(|copy| copy.exists()).unwrap_or_else(|| declared.to_owned())
}
