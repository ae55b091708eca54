use std::process::ExitCode;

use crate::runner::{Ids, user};

/// Become the runner's user for good, and kill every process of that user
///
/// PID 1 starts it between two listeners' lives, so that nothing of a job sees the next one.
#[derive(Debug, clap::Args)]
pub struct EndJobs {
    /// UID:GID
    ids: Ids,
}

impl EndJobs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        user::kill_everything_of(self.ids)?;
        Ok(ExitCode::SUCCESS)
    }
}
