//! Which jobs will come, and which never will, because of what: of the runner's repository, or of every one of an organisation's
//! that may use its group.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::finding::Finding;
use crate::{
    commands::{
        lint::{self, Outlook},
        steps::push_only::repositories,
    },
    github::GitHub,
    installation::Identity,
    value::{Repository, Scope},
};

/// More of them nobody reads at once.
const SHOWN: usize = 10;
/// Repositories that are looked at together.
const AT_ONCE: usize = 4;

pub async fn outlook(github: &GitHub, identity: &Identity) -> Vec<Finding> {
    match all(github, identity).await {
        Ok(all) => told(&identity.scope, identity, &all),
        Err(why) => {
            let next = match &identity.scope {
                Scope::Repository(repository) => format!("`vega-builder lint {repository}`"),
                Scope::Organization(organization) => {
                    format!("`vega-builder lint` of each repository of {organization}")
                }
            };
            vec![Finding::failure("workflows", format!("{why:#}"), next)]
        }
    }
}

async fn all(github: &GitHub, identity: &Identity) -> anyhow::Result<Vec<(Repository, Outlook)>> {
    let (group, wanted) = match github.subject() {
        Scope::Repository(repository) => (identity.group.clone(), vec![repository.clone()]),
        Scope::Organization(organization) => {
            let (group, all) = repositories(&github.of(organization), identity).await?;
            (Some(group), all)
        }
    };
    let asked = wanted.into_iter().map(|repository| {
        let (github, group) = (github.of(&repository), group.as_deref());
        async move {
            let outlook = lint::outlook(&github, &identity.labels, group).await?;
            anyhow::Ok((repository, outlook))
        }
    });
    stream::iter(asked).buffered(AT_ONCE).try_collect().await
}

fn told(scope: &Scope, identity: &Identity, all: &[(Repository, Outlook)]) -> Vec<Finding> {
    // Where there is one alone, its name is clear.
    let named = |repository: &Repository, said: String| match scope {
        Scope::Repository(_) => said,
        Scope::Organization(_) => format!("{repository}: {said}"),
    };
    let whose = match scope {
        Scope::Repository(repository) => repository.to_string(),
        Scope::Organization(organization) => {
            format!("{organization}'s {} repositories that may use this runner", all.len())
        }
    };
    let mut findings = vec![strangers(&whose, identity, all)];
    let coming: Vec<String> = all
        .iter()
        .flat_map(|(repository, outlook)| outlook.coming.iter().map(move |job| (repository, job)))
        .map(|(repository, job)| named(repository, format!("{} ({}:{})", job.job, job.file, job.line)))
        .collect();
    let more = coming.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let jobs = coming.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    findings.push(match coming.len() {
        0 => Finding::warning(
            "workflows",
            format!("no job of {whose} will come here"),
            format!("in a workflow: `runs-on: [{}]`", identity.labels.iter().collect::<Vec<_>>().join(", ")),
        ),
        1 => Finding::fine("workflows", format!("this job of {whose} will come here: {jobs}")),
        count => {
            Finding::fine("workflows", format!("these {count} jobs of {whose} will come here: {jobs}{more}"))
        }
    });
    let never = all.iter().flat_map(|(of, outlook)| outlook.never.iter().map(move |never| (of, never)));
    findings.extend(never.take(SHOWN).map(|(of, never)| {
        let said = format!("{} ({}) will never come here: {}", never.job, never.place, never.why);
        Finding::warning(
            "workflows",
            named(of, said),
            "another `runs-on` or `on` there, or other labels here",
        )
    }));
    findings
}

fn strangers(whose: &str, identity: &Identity, all: &[(Repository, Outlook)]) -> Finding {
    let reasons: usize = all.iter().map(|(_, outlook)| outlook.reasons.len()).sum();
    let Some((repository, first)) = all.iter().find_map(|(of, outlook)| Some((of, outlook.reasons.first()?)))
    else {
        return Finding::fine("strangers", format!("cannot start a job here from {whose}"));
    };
    let more = if reasons > 1 { format!(", and {} more", reasons - 1) } else { String::new() };
    let next = format!("`{}`", identity.to_lint(&repository.to_string()));
    Finding::wrong("strangers", format!("can start jobs here: {first}{more}"), next)
}
