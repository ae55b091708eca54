//! Push-only: what can reach this runner is looked at before anything is registered; by whatever registers.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use crate::{
    commands::lint::{self, Seen},
    exit::StrangersReach,
    github::GitHub,
    installation::{Accepted, Identity},
    progress::{Progress, printable},
    value::{Organization, Repository, Scope},
};

/// Repositories that are looked at together; each makes several requests at once.
const AT_ONCE: usize = 4;

/// Look at the workflows of every branch, and at the settings, and refuse a repository in which a stranger can start a
/// job on this runner; unless the person said that they accept that. Of an organisation every repository is looked at
/// that may use the runner's group.
///
/// What comes back is what was accepted, for the record.
pub async fn demand(
    github: &GitHub,
    identity: &Identity,
    accepts: bool,
    progress: &Progress,
) -> anyhow::Result<Option<Accepted>> {
    let step = progress.step("reach", "reading what can reach this runner");
    let all = match github.subject() {
        Scope::Repository(repository) => {
            let seen = lint::look(&github.of(repository), &identity.labels, None).await?;
            vec![(repository.clone(), seen)]
        }
        Scope::Organization(organization) => of_all(&github.of(organization), identity).await?,
    };
    let (bad, good): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, seen)| !seen.reasons.is_empty());
    let Some((first, _)) = bad.first() else {
        step.done(&match good.as_slice() {
            [(_, seen)] if github.subject().repository().is_some() => {
                format!("{}; nobody else can start one here", seen.landings)
            }
            several => format!("{} repositories; no stranger can start a job here", several.len()),
        });
        return Ok(None);
    };
    let repository = first.to_string();
    let reasons: Vec<String> = bad.iter().flat_map(|(of, seen)| named(github.subject(), of, seen)).collect();
    step.failed(&format!("strangers can reach this runner ({} findings)", reasons.len()));
    if accepts {
        for reason in &reasons {
            progress.note(&format!("accepted: {}", printable(reason)));
        }
        return Ok(Some(Accepted { at: Timestamp::now(), findings: reasons }));
    }
    for (_, seen) in &bad {
        progress.source(&seen.source);
    }
    let lint = identity.to_lint(&repository);
    Err(StrangersReach { repository, lint, reasons }.into())
}

/// The name of the runner's group, and those of an organisation's repositories that may use it.
pub async fn repositories(
    github: &GitHub<Organization>,
    identity: &Identity,
) -> anyhow::Result<(String, Vec<Repository>)> {
    let group = github.group(identity.group.as_deref()).await?;
    let repositories = github.repositories_of(&group).await?;
    Ok((group.name, repositories))
}

async fn of_all(
    github: &GitHub<Organization>,
    identity: &Identity,
) -> anyhow::Result<Vec<(Repository, Seen)>> {
    let (group, repositories) = repositories(github, identity).await?;
    let asked = repositories.into_iter().map(|repository| {
        let (github, name) = (github.of(&repository), group.as_str());
        async move {
            let seen = lint::look(&github, &identity.labels, Some(name)).await?;
            anyhow::Ok((repository, seen))
        }
    });
    stream::iter(asked).buffered(AT_ONCE).try_collect().await
}

/// The reasons, with the repository's name where there are several.
fn named(scope: &Scope, repository: &Repository, seen: &Seen) -> Vec<String> {
    let name = |reason: &String| match scope {
        Scope::Repository(_) => reason.clone(),
        Scope::Organization(_) => format!("{repository}: {reason}"),
    };
    seen.reasons.iter().map(name).collect()
}
