use std::process::ExitCode;

use crate::store;

/// The builder of the sandbox probe: tell what of the container can be seen from a build
#[derive(Debug, clap::Args)]
pub struct SandboxWitness {}

impl SandboxWitness {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        store::witness()?;
        Ok(ExitCode::SUCCESS)
    }
}
