//! `logout`: forget the login at Vega.

use std::{fs, io, process::ExitCode};

use crate::cache::vega::{CredentialError, login_path};

/// Forget the login at Vega
///
/// The credential is removed from ~/.config/vega/credential. What was pushed stays. No login is no error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder logout")]
pub struct LogoutCommand {}

impl LogoutCommand {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let path = login_path()?;
        match fs::remove_file(&path) {
            Ok(()) => anstream::println!("logged out: {} is gone", path.display()),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                anstream::println!("nobody was logged in: there is no {}", path.display());
            }
            Err(why) => return Err(CredentialError::File { path, why: why.to_string() }.into()),
        }
        Ok(ExitCode::SUCCESS)
    }
}
