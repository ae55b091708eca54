use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct JobStarted {}

impl JobStarted {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("being built")
    }
}
