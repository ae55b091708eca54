//! GitHub's side: the token, the clock, the runner's version, and which jobs will come.

use jiff::Timestamp;

use super::finding::Finding;
use crate::{
    commands::{
        lint::{self, Outlook},
        steps::{standing, subject::Subject, version::RunnerVersion},
    },
    github::{self, GitHub},
    installation::Identity,
    value::Repository,
};

/// Who asks.
pub const LOGIN: &str = "`gh auth login` as somebody who administers it, or a token in GH_TOKEN";

/// What GitHub answers to this credential about this runner.
pub async fn github(github: &GitHub, identity: &Identity, installed: Option<&Subject>) -> Vec<Finding> {
    let (name, scope) = (&identity.name, &identity.scope);
    let is_on_host = installed.is_some_and(|subject| subject.housing.is_host());
    let is_ephemeral = installed.is_some_and(|subject| subject.is_ephemeral);
    // One that takes no jobs need not be there.
    let is_awaited = installed.is_some_and(|subject| !matches!(subject.installation.drained(), Ok(Some(_))));
    let mut findings = Vec::new();
    let runner = match standing::listed(github, name, is_ephemeral).await {
        Ok(runner) => runner,
        Err(why) => return vec![Finding::failure("token", why, LOGIN)],
    };
    findings.push(match github.may_register().await {
        Ok(true) => Finding::fine("token", format!("sees the runners of {scope}, and may register some")),
        Ok(false) => Finding::wrong(
            "token",
            format!(
                "sees the runners of {scope}, and may not register one: what it may read there it needs to write"
            ),
            LOGIN,
        ),
        Err(why) => Finding::failure("token", why, LOGIN),
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

/// More of them nobody reads at once.
const SHOWN: usize = 10;

/// Which of a repository's jobs will come, and which never will.
pub async fn outlook(github: &GitHub<Repository>, identity: &Identity) -> Vec<Finding> {
    let repository = github.subject().to_string();
    let Outlook { coming, never, reasons } =
        match lint::outlook(github, &identity.labels, identity.group.as_deref()).await {
            Ok(outlook) => outlook,
            Err(why) => {
                return vec![Finding::failure(
                    "workflows",
                    format!("{why:#}"),
                    format!("`vega-builder lint {repository}`"),
                )];
            }
        };
    let mut findings = Vec::new();
    if let Some(first) = reasons.first() {
        let more =
            if reasons.len() > 1 { format!(", and {} more", reasons.len() - 1) } else { String::new() };
        let next = format!("`vega-builder lint {repository} --all-branches`");
        findings.push(Finding::wrong("strangers", format!("can start jobs here: {first}{more}"), next));
    } else {
        findings.push(Finding::fine("strangers", format!("cannot start a job here from {repository}")));
    }
    let jobs: Vec<String> =
        coming.iter().take(SHOWN).map(|job| format!("{} ({}:{})", job.job, job.file, job.line)).collect();
    let more = coming.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    findings.push(match coming.len() {
        0 => Finding::warning(
            "workflows",
            format!("no job of {repository} will come here"),
            format!("in a workflow: `runs-on: [{}]`", identity.labels.iter().collect::<Vec<_>>().join(", ")),
        ),
        1 => Finding::fine(
            "workflows",
            format!("this job of {repository} will come here: {}", jobs.join(", ")),
        ),
        count => Finding::fine(
            "workflows",
            format!("these {count} jobs of {repository} will come here: {}{more}", jobs.join(", ")),
        ),
    });
    findings.extend(never.iter().take(SHOWN).map(|never| {
        let what = format!("{} ({}) will never come here: {}", never.job, never.place, never.why);
        let next =
            format!("another `runs-on` or `on` there, or `vega-builder up {repository}` with other --labels");
        Finding::warning("workflows", what, next)
    }));
    findings
}
