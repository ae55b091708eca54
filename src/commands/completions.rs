//! `completions`: the shell's own completion script.

use std::process::ExitCode;

use clap::CommandFactory as _;

/// Print the completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder completions bash > /etc/bash_completion.d/vega-builder
  vega-builder completions fish > ~/.config/fish/completions/vega-builder.fish")]
pub struct Completions {
    shell: clap_complete::Shell,
}

impl Completions {
    pub fn run(self) -> ExitCode {
        let mut command = crate::cli::Cli::command();
        clap_complete::generate(self.shell, &mut command, "vega-builder", &mut std::io::stdout());
        ExitCode::SUCCESS
    }
}
