//! What may start a job here: the third of three places where a stranger's code is stopped.
//!
//! A fork can edit the workflow inside its own pull request, so no reading of files on the host is enough:
//! this looks at the event itself, before a job's first step. What it cannot understand it refuses.

use serde_json::Value;

use crate::contract::ALLOWED_EVENTS;

/// Why a job does not start; shown in the job's log at GitHub.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "this runner takes no '{0}' events: it serves {list} only; use `on: push`, or runs-on: ubuntu-latest for this event",
        list = ALLOWED_EVENTS.join(", ")
    )]
    Event(String),
    #[error("the event's head is {head}, not {repository}: this runner runs no code of forks")]
    Fork { head: String, repository: String },
    #[error("the job is of {repository}, and this runner takes the jobs of {ours} only")]
    Stranger { repository: String, ours: String },
    #[error("the event carries a pull request: this runner runs no code of pull requests")]
    PullRequest,
    #[error("the event cannot be read ({0}), so this runner does not run it")]
    Unreadable(String),
}

/// Look at an event: its name, its payload, and the repository whose job this is.
pub fn check(name: &str, payload: &Value, repository: &str) -> Result<(), Refusal> {
    if !ALLOWED_EVENTS.contains(&name) {
        return Err(Refusal::Event(name.to_owned()));
    }
    let payload = payload.as_object().ok_or_else(|| Refusal::Unreadable("it is no object".to_owned()))?;
    // Every event names its repository; that of a timer may be bare.
    if name != "schedule" && payload.get("repository").is_none_or(Value::is_null) {
        return Err(Refusal::Unreadable("it names no repository".to_owned()));
    }
    let heads = [
        payload.get("pull_request").and_then(|pull| pull.pointer("/head/repo")),
        payload.get("workflow_run").and_then(|run| run.get("head_repository")),
        payload.get("repository"),
    ];
    for head in heads.into_iter().flatten() {
        let head = head.get("full_name").and_then(Value::as_str).unwrap_or("a repository that is gone");
        if !head.eq_ignore_ascii_case(repository) {
            return Err(Refusal::Fork { head: head.to_owned(), repository: repository.to_owned() });
        }
    }
    // A `number` alone is an issue's; a pull request in an event that cannot have one is a forgery.
    if payload.contains_key("pull_request") {
        return Err(Refusal::PullRequest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Refusal, check};

    fn judge(name: &str, payload: &Value) -> Result<(), Refusal> {
        check(name, payload, "octo/heavy")
    }

    #[test]
    fn what_only_writers_cause_may_run() {
        for name in crate::contract::ALLOWED_EVENTS {
            judge(name, &json!({ "repository": { "full_name": "Octo/Heavy", "fork": false } })).unwrap();
        }
    }

    #[test]
    fn events_that_strangers_can_cause_are_refused() {
        for name in [
            "pull_request",
            "pull_request_target",
            "issue_comment",
            "workflow_run",
            "fork",
            "issues",
            "",
            "Push",
        ] {
            assert_eq!(judge(name, &json!({})), Err(Refusal::Event(name.to_owned())));
        }
    }

    #[test]
    fn a_forks_head_is_refused_in_every_allowed_event() {
        for head in [
            json!({ "pull_request": { "head": { "repo": { "full_name": "mallory/heavy" } } } }),
            json!({ "workflow_run": { "head_repository": { "full_name": "mallory/heavy" } } }),
            json!({ "repository": { "full_name": "mallory/heavy" } }),
            json!({ "pull_request": { "head": { "repo": {} } } }),
        ] {
            let mut head = head;
            if head.get("repository").is_none() {
                head["repository"] = json!({ "full_name": "octo/heavy" });
            }
            assert!(matches!(judge("push", &head), Err(Refusal::Fork { .. })), "{head}");
        }
    }

    #[test]
    fn a_pull_request_is_refused_even_of_our_own_branch() {
        let repository = json!({ "full_name": "octo/heavy" });
        for pull in [json!({ "head": { "repo": repository } }), json!(null)] {
            let payload = json!({ "repository": repository, "pull_request": pull });
            assert_eq!(judge("push", &payload), Err(Refusal::PullRequest));
        }
    }

    #[test]
    fn an_event_that_names_no_repository_is_refused_but_for_a_timers() {
        for payload in [json!({}), json!({ "repository": null })] {
            assert!(matches!(judge("push", &payload), Err(Refusal::Unreadable(_))), "{payload}");
        }
        judge("schedule", &json!({ "schedule": "0 4 * * *" })).unwrap();
    }

    #[test]
    fn a_payload_that_is_no_object_is_refused() {
        assert!(matches!(judge("push", &json!([])), Err(Refusal::Unreadable(_))));
    }
}
