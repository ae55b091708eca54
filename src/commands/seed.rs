use std::{path::PathBuf, process::ExitCode};

use crate::store;

/// Add the store paths of this image to a store that an earlier image filled
///
/// Run by `vega-builder up` in a one-shot container of the new image. It adds and never removes.
#[derive(Debug, clap::Args)]
pub struct Seed {
    /// The image's /nix
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The volume
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

impl Seed {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let copied = store::seed(&self.from, &self.to)?;
        // Who called notes that the paths are there: that must be true after a power cut too.
        nix::unistd::syncfs(std::fs::File::open(&self.to)?)?;
        crate::runner::say(&format!("{copied} store paths added"));
        Ok(ExitCode::SUCCESS)
    }
}
