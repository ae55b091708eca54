use std::{ffi::OsString, process::ExitCode};

use anyhow::Context as _;

use crate::runner::{Ids, user};

/// Become the runner's user for good, without any capability, and execute a command
#[derive(Debug, clap::Args)]
pub struct AsRunner {
    /// With shared memory, semaphores and queues of its own, which go with it
    #[arg(long)]
    apart: bool,
    /// UID:GID
    ids: Ids,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl AsRunner {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let program = self.command.first().map(|program| program.to_string_lossy().into_owned());
        match user::become_runner(self.ids, self.apart, &self.command) {
            Ok(never) => match never {},
            Err(why) => Err(why).with_context(|| {
                format!("{} cannot be executed as the runner's user", program.unwrap_or_default())
            }),
        }
    }
}
