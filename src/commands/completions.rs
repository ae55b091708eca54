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
    /// The shell that will read the script
    shell: clap_complete::Shell,
}

impl Completions {
    pub fn run(self) -> ExitCode {
        // What people type: the image's own verbs are no use to complete.
        let all = crate::cli::Cli::command();
        let visible = all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
        let mut command =
            clap::Command::new("vega-builder").version(env!("CARGO_PKG_VERSION")).subcommands(visible);
        clap_complete::generate(self.shell, &mut command, "vega-builder", &mut std::io::stdout());
        ExitCode::SUCCESS
    }
}
