//! `uninstall`: the unit of an installed runner, and the runner with it.

use std::{process::ExitCode, time::Duration};

use super::down::Down;
use crate::{installation, progress::Output};

/// Stop a runner that `install` handed to systemd, and take everything of it away
///
/// Its units, its declaration, and all that `down` removes: the container, the volumes, the image, the entry on GitHub's
/// list. While a job runs it does nothing, unless --now is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder uninstall
  vega-builder uninstall octo-org/heavy-builds --keep-store")]
pub struct Uninstall {
    #[command(flatten)]
    down: Down,
}

/// The keeper of slots has the lock while a container begins.
const PATIENCE: Duration = Duration::from_secs(60);

impl Uninstall {
    pub fn output(&self) -> Output {
        self.down.output()
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let installation = self.down.subject()?.lock_patiently(PATIENCE)?;
        if !installation.is_installed() {
            let (name, file) = (installation.name.to_string(), installation.declaration.clone());
            let next = if installation.is_declared() {
                "take the runner out of this system's configuration, and switch to that".to_owned()
            } else {
                return Err(installation::Error::NotInstalled { name }.into());
            };
            return Err(installation::Error::Declared { name, file, next }.into());
        }
        self.down.take_away(installation).await
    }
}
