use std::{ffi::OsString, os::unix::process::CommandExt as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use crate::host::{Folders, enter_host_view};

/// Start a program that sees the host as it is, with nothing of a runner's but what its nix-daemon needs
#[derive(Debug, clap::Args)]
pub struct HostView {
    /// The runner's folder
    folder: PathBuf,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl HostView {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let folders = Folders(self.folder);
        enter_host_view(&folders)?;
        let (program, arguments) = self.command.split_first().context("no command to execute")?;
        let mut command = std::process::Command::new(program);
        command.args(arguments).env("NIX_CONF_DIR", folders.nix()).env("TMPDIR", folders.builds());
        Err(command.exec()).with_context(|| program.to_string_lossy().into_owned())
    }
}
