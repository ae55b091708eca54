use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Seed {}

impl Seed {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("being built")
    }
}
