//! The command tree and nothing else: a word of the help text is the name of a file in `commands/`.

use clap::{Parser, Subcommand};

use crate::commands::{entrypoint, job_started, seed};

#[derive(Debug, Parser)]
#[command(name = "vega-builder", version, about, long_about = None)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// PID 1 of the image: store, daemon, registration, runner.
    Entrypoint(entrypoint::Entrypoint),
    /// Copy the image's store paths into the store's volume, adding what is missing.
    Seed(seed::Seed),
    /// The runner's job-started hook: refuse events that may carry a stranger's code.
    JobStarted(job_started::JobStarted),
}

impl Cli {
    /// Run the chosen command and give its exit code.
    pub fn run(self) -> anyhow::Result<std::process::ExitCode> {
        match self.command {
            Command::Entrypoint(command) => command.run(),
            Command::Seed(command) => command.run(),
            Command::JobStarted(command) => command.run(),
        }
    }
}
