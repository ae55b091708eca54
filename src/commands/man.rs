//! `man`: the manual pages, from the same words as `--help`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::CommandFactory as _;

/// Write the manual pages, one a command, into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder man /usr/local/share/man/man1")]
pub struct Man {
    /// The folder; made when it is missing
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl Man {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let write = || {
            std::fs::create_dir_all(&self.folder)?;
            clap_mangen::generate_to(crate::cli::Cli::command(), &self.folder)
        };
        write().with_context(|| {
            format!("the pages cannot be written to {}; is it yours to write to?", self.folder.display())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
