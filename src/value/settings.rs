//! A repository's settings that decide who can start jobs, in GitHub's own words.

/// Whose pull request from a fork waits for a maintainer's approval before its workflows run ("Approval for running
/// fork pull request workflows from contributors").
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// Of accounts that are new to GitHub.
    FirstTimeContributorsNewToGithub,
    /// Of accounts that never had one merged here.
    FirstTimeContributors,
    /// Of everybody who may not write.
    AllExternalContributors,
}

/// In a private repository: whether workflows run for pull requests from forks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ForkRuns {
    #[serde(rename = "run_workflows_from_fork_pull_requests")]
    pub run: bool,
    #[serde(rename = "require_approval_for_fork_pr_workflows")]
    pub need_approval: bool,
}

/// What a workflow's token may do unless the workflow says otherwise ("Workflow permissions").
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenDefault {
    Read,
    Write,
}

/// A group of an organisation's runners.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RunnerGroup {
    pub name: String,
    pub allows_public_repositories: bool,
    /// Whether only named workflows may use it.
    #[serde(default)]
    pub restricted_to_workflows: bool,
}

/// What a repository lets strangers do; what could not be read is not known.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RepositorySettings {
    /// The repository's page at GitHub.
    pub page: String,
    /// Not public: private, or internal to an enterprise.
    pub private: bool,
    pub approval: Option<Approval>,
    pub forks: Option<ForkRuns>,
    pub token: Option<TokenDefault>,
    /// How many accounts may push; a hundred stands for that many and more.
    pub writers: Option<usize>,
    pub group: Option<RunnerGroup>,
}
