//! Push-only: what can reach this runner is looked at before anything is registered; a step of `up` and `register`.

use jiff::Timestamp;

use super::lint;
use crate::{
    exit::StrangersReach,
    github::GitHub,
    installation::Accepted,
    progress::{Progress, printable},
    value::Labels,
};

/// Look at the workflows of every branch, and at the settings, and refuse a repository in which a stranger can start a
/// job on a runner with these labels; unless the person said that they accept that.
///
/// What comes back is what was accepted, for the record.
pub async fn demand(
    github: &GitHub,
    labels: &Labels,
    accepts: bool,
    progress: &Progress,
) -> anyhow::Result<Option<Accepted>> {
    let step = progress.step("reach", "reading what can reach this runner");
    let seen = lint::look(github, labels).await?;
    if seen.reasons.is_empty() {
        step.done(&format!("{}; nobody else can start one here", seen.landings));
        return Ok(None);
    }
    step.failed(&format!("strangers can reach this runner ({} findings)", seen.reasons.len()));
    if accepts {
        for reason in &seen.reasons {
            progress.note(&format!("accepted: {}", printable(reason)));
        }
        return Ok(Some(Accepted { at: Timestamp::now(), findings: seen.reasons }));
    }
    progress.source(&seen.source);
    Err(StrangersReach { repository: github.repository().to_string(), reasons: seen.reasons }.into())
}
