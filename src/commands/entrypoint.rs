use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Entrypoint {}

impl Entrypoint {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("being built")
    }
}
