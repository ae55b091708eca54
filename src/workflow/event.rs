//! The events that start a workflow, and by whose hand each can come about.
//!
//! Source: <https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows>

use std::fmt;

/// Who can make an event happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hand {
    /// GitHub's clock.
    Clock,
    /// Whoever may write to the repository, and what holds a token that may.
    Writer,
    /// Anyone with an account (in a private repository: anyone who can read it).
    Stranger,
}

impl fmt::Display for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clock => "the clock",
            Self::Writer => "whoever may write to the repository",
            Self::Stranger => "anyone",
        })
    }
}

/// What a stranger does to make an event happen.
pub fn strangers_way(event: &str) -> Option<&'static str> {
    Some(match event {
        "pull_request" => "a pull request from a fork, which brings its own code and its own workflow files",
        "pull_request_target" => "a pull request from a fork, with this repository's secrets at hand",
        "pull_request_review" => "a review of a pull request from a fork, whose code it runs",
        "pull_request_review_comment" => {
            "a comment on a line of a pull request from a fork, whose code it runs"
        }
        "pull_request_comment" => "a comment on a pull request",
        "workflow_run" => "the end of a workflow that a pull request from a fork has started",
        "issue_comment" => "a comment on an issue or a pull request",
        "issues" => "an issue",
        "discussion" => "a discussion",
        "discussion_comment" => "a comment in a discussion",
        "fork" => "a fork of the repository",
        "watch" => "a star for the repository",
        "gollum" => "a change of the wiki",
        "check_run" | "check_suite" | "status" => "a pull request that sets an app's checks off",
        _ if is_known(event) => return None,
        _ => "an event that this program does not know",
    })
}

/// Whose hand an event can come from at the most. What is not known counts as anyone's.
pub fn hand(event: &str) -> Hand {
    match event {
        _ if strangers_way(event).is_some() => Hand::Stranger,
        "schedule" => Hand::Clock,
        _ => Hand::Writer,
    }
}

/// The events in which a workflow runs on a pull request's own code and files.
pub const ON_A_PULL_REQUEST: [&str; 4] =
    ["pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment"];

/// Strangers' events that say nothing of a pull request's head.
pub const FROM_ANYONE: [&str; 11] = [
    "issue_comment",
    "issues",
    "discussion",
    "discussion_comment",
    "fork",
    "watch",
    "gollum",
    "check_run",
    "check_suite",
    "status",
    "workflow_run",
];

/// Whether the event runs in the default branch's context, whose caches every branch reads.
pub fn runs_on_default_branch(event: &str) -> bool {
    event == "pull_request_target" || FROM_ANYONE.contains(&event)
}

/// Those that only who may write can cause.
const WRITERS: [&str; 21] = [
    "branch_protection_rule",
    "create",
    "delete",
    "deployment",
    "deployment_status",
    "image_version",
    "label",
    "member",
    "merge_group",
    "milestone",
    "page_build",
    "project",
    "project_card",
    "project_column",
    "public",
    "push",
    "registry_package",
    "release",
    "repository_dispatch",
    "schedule",
    "workflow_dispatch",
];

fn is_known(event: &str) -> bool {
    WRITERS.contains(&event)
}

/// Not an event of its own: the caller's counts.
pub const CALL: &str = "workflow_call";

#[cfg(test)]
mod tests {
    use super::{CALL, FROM_ANYONE, Hand, ON_A_PULL_REQUEST, hand};

    #[test]
    fn every_event_of_the_job_hook_is_a_writers_or_the_clocks() {
        for event in crate::contract::ALLOWED_EVENTS {
            assert!(hand(event) < Hand::Stranger, "{event}");
        }
    }

    #[test]
    fn a_strangers_event_is_a_strangers_and_so_is_one_that_nobody_knows() {
        for event in ON_A_PULL_REQUEST.iter().chain(&FROM_ANYONE).chain(&["tomorrows_event", "Push", ""]) {
            assert_eq!(hand(event), Hand::Stranger, "{event}");
        }
        assert_eq!(hand("schedule"), Hand::Clock);
        assert_eq!(hand(CALL), Hand::Stranger, "never asked: a call has its caller's event");
    }
}
