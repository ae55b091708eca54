//! What decides who can start jobs in a repository: its visibility and its settings for Actions.

use super::{Error, GitHub, Operation};
use crate::value::{Approval, ForkRuns, Repository, RepositorySettings, RunnerGroup, TokenDefault};

/// A repository as GitHub shows it to whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct VisibleRepository {
    pub private: bool,
    pub default_branch: String,
    owner: Owner,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Owner {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(serde::Deserialize)]
struct ApprovalPolicy {
    approval_policy: Approval,
}

#[derive(serde::Deserialize)]
struct WorkflowPermissions {
    default_workflow_permissions: TokenDefault,
}

#[derive(serde::Deserialize)]
struct Groups {
    runner_groups: Vec<RunnerGroup>,
}

#[derive(serde::Deserialize)]
struct Variables {
    total_count: usize,
    variables: Vec<Variable>,
}

#[derive(serde::Deserialize)]
struct Variable {
    name: String,
    value: String,
}

/// The most that GitHub gives at once, and more pages than a repository can fill.
const VARIABLES_PAGE: usize = 30;
const MOST_PAGES: usize = 60;

impl GitHub<Repository> {
    /// Source: `GET /repos/{owner}/{repo}`.
    pub async fn visible_repository(&self) -> Result<VisibleRepository, Error> {
        let operation = Operation::ReadRepository;
        let reply = self.read(operation, &self.route("")).await?;
        self.parsed(operation, &reply)
    }

    /// All of them at once; the group only when one is named.
    pub async fn settings(
        &self,
        repository: &VisibleRepository,
        group: Option<&str>,
    ) -> Result<RepositorySettings, Error> {
        let group = async {
            match group {
                Some(name) if repository.owner.kind == "Organization" => self.runner_group(name).await,
                _ => Ok(None),
            }
        };
        // A public repository has no setting for forks of private ones, and the other way round.
        let approval = async { if repository.private { Ok(None) } else { self.approval().await } };
        let forks = async { if repository.private { self.fork_runs().await } else { Ok(None) } };
        let (approval, forks, token, writers, group) =
            tokio::try_join!(approval, forks, self.token_default(), self.writers(), group)?;
        let (page, private) = (self.page(""), repository.private);
        Ok(RepositorySettings { page, private, approval, forks, token, writers, group })
    }

    /// Source: `GET /repos/{owner}/{repo}/actions/permissions/fork-pr-contributor-approval`.
    async fn approval(&self) -> Result<Option<Approval>, Error> {
        let route = "/actions/permissions/fork-pr-contributor-approval";
        Ok(self.setting::<ApprovalPolicy>(route).await?.map(|policy| policy.approval_policy))
    }

    /// Source: `GET /repos/{owner}/{repo}/actions/permissions/fork-pr-workflows-private-repos`.
    async fn fork_runs(&self) -> Result<Option<ForkRuns>, Error> {
        self.setting("/actions/permissions/fork-pr-workflows-private-repos").await
    }

    /// Source: `GET /repos/{owner}/{repo}/actions/permissions/workflow`.
    async fn token_default(&self) -> Result<Option<TokenDefault>, Error> {
        let setting = self.setting::<WorkflowPermissions>("/actions/permissions/workflow").await?;
        Ok(setting.map(|setting| setting.default_workflow_permissions))
    }

    /// How many accounts may push, teams' members among them; a hundred stands for that many and more.
    ///
    /// Source: `GET /repos/{owner}/{repo}/collaborators?permission=push`.
    async fn writers(&self) -> Result<Option<usize>, Error> {
        let accounts =
            self.setting::<Vec<serde::de::IgnoredAny>>("/collaborators?permission=push&per_page=100").await?;
        Ok(accounts.map(|accounts| accounts.len()))
    }

    /// The variables of the repository and of its organisation; none when one of both cannot be read.
    ///
    /// Source: `GET /repos/{owner}/{repo}/actions/variables` and `…/actions/organization-variables`.
    pub async fn variables(&self) -> Result<Option<Vec<(String, String)>>, Error> {
        let Some(mut own) = self.all_variables("/actions/variables").await? else { return Ok(None) };
        let Some(organizations) = self.all_variables("/actions/organization-variables").await? else {
            return Ok(None);
        };
        // A repository's own variable hides the organisation's.
        let is_hidden = |name: &str| own.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let visible: Vec<_> = organizations.into_iter().filter(|(name, _)| !is_hidden(name)).collect();
        own.extend(visible);
        Ok(Some(own))
    }

    async fn all_variables(&self, route: &str) -> Result<Option<Vec<(String, String)>>, Error> {
        let mut all = Vec::new();
        for number in 1..=MOST_PAGES {
            let route = format!("{route}?per_page={VARIABLES_PAGE}&page={number}");
            let Some(page) = self.setting::<Variables>(&route).await? else { return Ok(None) };
            let count = page.variables.len();
            all.extend(page.variables.into_iter().map(|variable| (variable.name, variable.value)));
            if all.len() >= page.total_count || count == 0 {
                break;
            }
        }
        Ok(Some(all))
    }

    /// A group of the organisation's runners.
    ///
    /// Source: `GET /orgs/{org}/actions/runner-groups`.
    async fn runner_group(&self, name: &str) -> Result<Option<RunnerGroup>, Error> {
        let route = format!("/orgs/{}/actions/runner-groups?per_page=100", self.subject.owner());
        let groups: Option<Groups> = self.optional(&route).await?;
        let is_it = |group: &RunnerGroup| group.name.eq_ignore_ascii_case(name);
        Ok(groups.and_then(|groups| groups.runner_groups.into_iter().find(is_it)))
    }

    async fn setting<T: serde::de::DeserializeOwned>(&self, route: &str) -> Result<Option<T>, Error> {
        self.optional(&self.route(route)).await
    }

    /// What this token may not see, or this server does not have, is not known.
    async fn optional<T: serde::de::DeserializeOwned>(&self, route: &str) -> Result<Option<T>, Error> {
        let operation = Operation::ReadSettings;
        match self.read(operation, route).await {
            Ok(reply) => Ok(Some(self.parsed(operation, &reply)?)),
            Err(
                Error::Forbidden { .. }
                | Error::NotFound { .. }
                | Error::Sso { .. }
                | Error::Conflict { .. }
                | Error::Invalid { .. },
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
