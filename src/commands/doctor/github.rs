//! GitHub's side: the token, the clock, and the runner's version.

use jiff::Timestamp;

use super::finding::Finding;
use crate::{
    commands::steps::{standing, subject::Subject, version::RunnerVersion},
    github::{self, GitHub},
    installation::Identity,
};

/// Who asks.
pub const LOGIN: &str = "`gh auth login` as somebody who administers it, or a token in GH_TOKEN";

const LATER: &str = "this command again, when the network and https://www.githubstatus.com are well";

/// A question that came to nothing: for want of a token's right, or of an answer; `login` is what gives another one.
pub fn unanswered(why: &anyhow::Error, login: &str) -> Finding {
    let passes = why.chain().filter_map(|cause| cause.downcast_ref()).any(github::Error::passes);
    let (about, next) = if passes { ("GitHub", LATER) } else { ("token", login) };
    Finding::failure(about, format!("{why:#}"), next)
}

/// What GitHub answers to this credential about this runner.
pub async fn github(
    github: &GitHub,
    identity: &Identity,
    installed: Option<&Subject>,
    login: &str,
) -> Vec<Finding> {
    let (name, scope) = (&identity.name, &identity.scope);
    let is_on_host = installed.is_some_and(|subject| subject.housing.is_host());
    let is_ephemeral = installed.is_some_and(|subject| subject.is_ephemeral);
    // One that takes no jobs need not be there.
    let is_awaited = installed.is_some_and(|subject| !matches!(subject.installation.drained(), Ok(Some(_))));
    let mut findings = Vec::new();
    let runner = match standing::listed(github, name, is_ephemeral).await {
        Ok(runner) => runner,
        Err(why) => return vec![unanswered(&why.into(), login)],
    };
    findings.push(match github.may_register().await {
        Ok(true) => Finding::fine("token", format!("sees the runners of {scope}, and may register some")),
        Ok(false) => Finding::wrong(
            "token",
            format!(
                "sees the runners of {scope}, and may not register one: what it may read there it needs to write"
            ),
            login,
        ),
        Err(why) => unanswered(&why.into(), login),
    });
    match &runner {
        Some(runner) if runner.is_online() => {
            let busy = if runner.busy { "busy" } else { "idle" };
            findings.push(Finding::fine("GitHub", format!("lists {} as online, {busy}", runner.name)));
        }
        None if is_ephemeral && is_awaited => {
            let next = format!("`vega-builder status {name}`");
            findings.push(Finding::wrong(
                "GitHub",
                format!("lists no job's runner of {name} as online"),
                next,
            ));
        }
        Some(_) if is_awaited => {
            let next = format!("`vega-builder status {name}`");
            findings.push(Finding::wrong("GitHub", format!("lists {name} as offline"), next));
        }
        None if is_awaited => {
            let next = format!("`vega-builder register {name}`");
            findings.push(Finding::wrong("GitHub", format!("does not know {name}"), next));
        }
        _ => findings.push(Finding::fine("GitHub", format!("has no runner called {name} that is online"))),
    }
    if let Some(runner) = &runner
        && let Some(version) = RunnerVersion::of(github, runner).await
    {
        findings.push(match version.warning(name, is_on_host, Timestamp::now()) {
            Some(warning) => {
                let (what, next) = warning.split_once(": type ").unwrap_or((&warning, ""));
                Finding::warning("version", format!("GitHub's runner {}: {what}", version.version), next)
            }
            None => Finding::fine("version", format!("GitHub's runner {} is served", version.version)),
        });
    }
    findings.extend(clock(github).await);
    findings
}

/// More than this, and tokens and signatures look as if they were of another time.
const OFF: i64 = 60;

async fn clock(github: &GitHub) -> Option<Finding> {
    let ahead = github.clock_ahead().await.ok().flatten()?;
    if ahead.abs() <= OFF {
        return Some(Finding::fine("clock", "agrees with GitHub's"));
    }
    Some(Finding::wrong("clock", github::clock::sentence(ahead), "`timedatectl set-ntp true`"))
}
