//! Just-in-time configurations: a runner for one job, registered without a token.

use serde_json::json;
use zeroize::Zeroizing;

use super::{Error, GitHub, Operation, Runner};
use crate::value::{Labels, RunnerName, Scope};

/// A runner that GitHub knows already, and with which nobody has connected yet.
#[derive(serde::Deserialize)]
pub struct JitRunner {
    pub runner: Runner,
    /// All that it takes to be that runner.
    pub encoded_jit_config: Zeroizing<String>,
}

/// GitHub's own labels of a runner like ours, which it gives no just-in-time one by itself.
const OWN_LABELS: [&str; 3] =
    ["self-hosted", "Linux", if cfg!(target_arch = "aarch64") { "ARM64" } else { "X64" }];

impl GitHub<Scope> {
    /// A runner for one job. `group` is the id of the organisation's group; a repository has the one, 1.
    ///
    /// It is never asked for twice blindly: after a lost reply, or where the name is taken, the runner of that name is
    /// looked up and, when nobody is connected with it, removed; then GitHub is asked once more.
    ///
    /// Source: `POST /repos/{owner}/{repo}/actions/runners/generate-jitconfig`, and the same under `/orgs/{org}`.
    pub async fn generate_jit_config(
        &self,
        name: &RunnerName,
        group: u64,
        labels: &Labels,
    ) -> Result<JitRunner, Error> {
        let first = match self.ask_for_jit_config(name, group, labels).await {
            Err(error @ (Error::Conflict { .. } | Error::LostReply { .. } | Error::Server { .. })) => error,
            other => return other,
        };
        if let Some(runner) = self.runner(name).await? {
            if runner.is_online() || runner.busy {
                return Err(first);
            }
            self.delete_runner(&runner).await?;
        }
        self.ask_for_jit_config(name, group, labels).await
    }

    /// Whether this credential may register runners. It asks for none: whom GitHub lets, it tells that a name is missing.
    pub async fn may_register(&self) -> Result<bool, Error> {
        let (operation, nothing) = (Operation::GenerateJitConfig, json!({ "labels": [] }));
        match self.post_body(operation, &self.route("/actions/runners/generate-jitconfig"), &nothing).await {
            Err(Error::Invalid { .. }) => Ok(true),
            Err(Error::Forbidden { .. } | Error::NotFound { .. }) => Ok(false),
            Err(other) => Err(other),
            Ok(_) => {
                let (target, status) = (self.subject().to_string(), http::StatusCode::CREATED.as_u16());
                let why = "it was asked for nothing, and gave something".to_owned();
                Err(Error::Answer { operation, target, status, why })
            }
        }
    }

    async fn ask_for_jit_config(
        &self,
        name: &RunnerName,
        group: u64,
        labels: &Labels,
    ) -> Result<JitRunner, Error> {
        let operation = Operation::GenerateJitConfig;
        let given =
            labels.iter().filter(|label| !OWN_LABELS.iter().any(|own| own.eq_ignore_ascii_case(label)));
        let labels: Vec<&str> = OWN_LABELS.into_iter().chain(given).collect();
        let asked = json!({
            "name": name, "runner_group_id": group, "labels": labels, "work_folder": "_work",
        });
        let reply =
            self.post_body(operation, &self.route("/actions/runners/generate-jitconfig"), &asked).await?;
        self.parsed(operation, &reply)
    }
}
