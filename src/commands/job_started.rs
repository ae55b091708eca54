use std::process::ExitCode;

use crate::runner::event::{self, Refusal};

/// Judge the event of the job that is about to start
///
/// The runner calls this before a job's first step, as its unprivileged user; a non-zero exit fails the
/// job there. Without an event that can be read, no job starts.
#[derive(Debug, clap::Args)]
pub struct JobStarted {}

impl JobStarted {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match judge() {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(refusal) => {
                // The form that GitHub shows on the job's page.
                println!("::error title=vega-builder refuses this job::{refusal}");
                eprintln!("vega-builder: {refusal}");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

fn judge() -> Result<(), Refusal> {
    let variable =
        |name: &str| std::env::var(name).map_err(|_| Refusal::Unreadable(format!("{name} is not set")));
    let (name, path) = (variable("GITHUB_EVENT_NAME")?, variable("GITHUB_EVENT_PATH")?);
    let text = std::fs::read(&path).map_err(|why| Refusal::Unreadable(format!("{path}: {why}")))?;
    let payload =
        serde_json::from_slice(&text).map_err(|why| Refusal::Unreadable(format!("{path}: {why}")))?;
    event::check(&name, &payload, &variable("GITHUB_REPOSITORY")?)
}
