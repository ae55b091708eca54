//! `key`: the key that signs what is pushed.

use std::{path::PathBuf, process::ExitCode};

use crate::cache::key;

/// Make the key that signs what is pushed
#[derive(Debug, clap::Args)]
pub struct KeyCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a new secret key to a file that only you can read, and its public key beside it
    ///
    /// The form is that of `nix key generate-secret`. The public key, which is also printed, goes into
    /// trusted-public-keys of whoever uses the cache.
    #[command(after_help = "\
Example:
  vega-builder key generate --name octo-org-1 --out /etc/vega-builder/cache-key")]
    Generate {
        /// The key's name; whoever trusts it knows it by this
        #[arg(long)]
        name: String,
        /// The secret key's file, 0400; FILE.pub gets the public one
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

impl KeyCommand {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Verb::Generate { name, out } = self.verb;
        let public = key::generate(&name, &out)?;
        anstream::println!("{public}");
        Ok(ExitCode::SUCCESS)
    }
}
