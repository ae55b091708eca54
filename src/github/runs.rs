//! Jobs of workflow runs: when one was asked for, and when a runner took it.

use jiff::Timestamp;

use super::{Error, GitHub, Operation};
use crate::value::Repository;

/// A job of a run, with the fields that are needed here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct WorkflowJob {
    pub name: String,
    pub runner_name: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Timestamp,
}

#[derive(serde::Deserialize)]
struct Page {
    jobs: Vec<WorkflowJob>,
}

impl GitHub<Repository> {
    /// The jobs of all attempts of a run, a hundred of them at most.
    ///
    /// Source: `GET /repos/{owner}/{repo}/actions/runs/{run_id}/jobs`.
    pub async fn jobs_of(&self, run: u64) -> Result<Vec<WorkflowJob>, Error> {
        let operation = Operation::ListJobs;
        let route = self.route(&format!("/actions/runs/{run}/jobs?filter=all&per_page=100"));
        let reply = self.read(operation, &route).await?;
        Ok(self.parsed::<Page>(operation, &reply)?.jobs)
    }
}
