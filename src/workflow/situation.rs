//! One way in which a workflow comes to run: an event, by someone's hand, and the `github` context it brings.

use super::{
    event::{self, Hand},
    expression::{Identity, Part, Pattern, Value},
    file::Trigger,
    known::Known,
};

#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    pub event: String,
    pub hand: Hand,
    /// The context `github`, open: what is not told here is unknown.
    pub github: Value,
}

/// The author associations that a stranger can have. A contributor is one whose pull request was merged once.
const STRANGERS_ASSOCIATIONS: [&str; 5] =
    ["NONE", "FIRST_TIMER", "FIRST_TIME_CONTRIBUTOR", "CONTRIBUTOR", "MANNEQUIN"];

/// Every way in which a trigger can start its workflow.
///
/// `upstream` is about `workflow_run` alone: the events, other than pull requests, by which strangers can start the
/// workflows whose end it waits for.
pub fn situations(trigger: &Trigger<'_>, known: &Known, upstream: &[&str]) -> Vec<Situation> {
    let event = trigger.event.as_str();
    let situation =
        |hand, fields| Situation { event: event.to_owned(), hand, github: github(event, known, fields) };
    match (event, event::hand(event)) {
        _ if event::ON_A_PULL_REQUEST.contains(&event) => {
            let mut all = vec![
                situation(Hand::Stranger, on_a_pull_request(trigger, known, Hand::Stranger, false)),
                situation(Hand::Writer, on_a_pull_request(trigger, known, Hand::Writer, true)),
                // Who may write may have a fork all the same.
                situation(Hand::Writer, on_a_pull_request(trigger, known, Hand::Writer, false)),
            ];
            // Anyone reviews anyone's pull request, one from a branch of this repository too.
            if event.starts_with("pull_request_review") {
                all.push(situation(Hand::Stranger, on_a_pull_request(trigger, known, Hand::Stranger, true)));
            }
            all
        }
        ("workflow_run", _) => {
            let mut all = vec![
                situation(Hand::Stranger, after_a_run(Some(&event::ON_A_PULL_REQUEST), known, false)),
                situation(Hand::Writer, after_a_run(None, known, true)),
            ];
            if !upstream.is_empty() {
                all.push(situation(Hand::Stranger, after_a_run(Some(upstream), known, true)));
            }
            all
        }
        (_, Hand::Stranger) => vec![
            situation(Hand::Stranger, written_by(event, Some(&STRANGERS_ASSOCIATIONS))),
            situation(Hand::Writer, written_by(event, None)),
        ],
        (_, hand) => vec![situation(hand, of_a_writer(event))],
    }
}

fn github(event: &str, known: &Known, mut fields: Vec<(&'static str, Value)>) -> Value {
    fields.push(("event_name", Value::text(event)));
    for (field, part) in
        [("repository", Part::Name), ("repository_owner", Part::Owner), ("repository_id", Part::Id)]
    {
        fields.push((field, identity(part, known, true)));
    }
    Value::open_object(fields)
}

fn identity(part: Part, known: &Known, own: bool) -> Value {
    let name = known.repository.as_deref().and_then(|name| match part {
        Part::Name => Some(name),
        Part::Owner => name.split_once('/').map(|(owner, _)| owner),
        Part::Id => None,
    });
    Value::Repository(Identity { part, own, name: name.map(str::to_owned) })
}

/// A repository in an event's payload.
fn repository_object(known: &Known, own: bool) -> Value {
    // A fork's owner may have the same name for nothing; the owner of another's repository is another.
    Value::open_object(vec![
        ("full_name", identity(Part::Name, known, own)),
        ("id", identity(Part::Id, known, own)),
        ("owner", Value::open_object(vec![("login", identity(Part::Owner, known, own))])),
        // Whether the head is a *fork* says nothing: a fork's own upstream is none, and may send a pull request too.
    ])
}

fn pull_request(event: &str, known: &Known, by: Hand, own: bool) -> Value {
    let repository = repository_object(known, own);
    let head = Value::open_object(vec![
        // A fork can be deleted while its pull request stands.
        ("repo", if own { repository } else { Value::one_of([repository, Value::Null]) }),
        ("user", Value::open_object(vec![("login", identity(Part::Owner, known, own))])),
    ]);
    let base = Value::open_object(vec![("repo", repository_object(known, true))]);
    let mut fields = vec![("head", head), ("base", base)];
    // Who opened a pull request from a fork is its author; a label, a review or a comment may be another's.
    if by == Hand::Stranger && event != "pull_request_review" && event != "pull_request_review_comment" {
        fields.push(("author_association", choice(&STRANGERS_ASSOCIATIONS)));
    }
    Value::open_object(fields)
}

fn on_a_pull_request(
    trigger: &Trigger<'_>,
    known: &Known,
    by: Hand,
    own: bool,
) -> Vec<(&'static str, Value)> {
    let event = trigger.event.as_str();
    let payload = Value::open_object(vec![
        ("pull_request", pull_request(event, known, by, own)),
        ("repository", repository_object(known, true)),
        ("issue", Value::Null),
        ("workflow_run", Value::Null),
    ]);
    let mut fields =
        vec![("event", payload), ("head_ref", Value::some_text()), ("base_ref", Value::some_text())];
    if event == "pull_request" && trigger.types.iter().all(|kind| WHILE_OPEN.contains(&kind.as_str())) {
        // refs/pull/7/merge: never a branch of this repository, as long as the pull request is not merged.
        fields.push(("ref", text_between("refs/pull/", "/merge")));
        fields.push(("ref_name", text_between("", "/merge")));
        fields.push(("ref_protected", Value::Bool(false)));
    }
    fields
}

/// What happens only to a pull request that is open; a title can be edited, and a review written, after the merge.
const WHILE_OPEN: [&str; 3] = ["opened", "synchronize", "reopened"];

fn text_between(before: &str, after: &str) -> Value {
    let mut pattern = Pattern::exact(before);
    pattern.push(&Pattern::anything());
    pattern.push_literal(after);
    Value::Text(pattern)
}

/// After a run that one of `events` started (or any), with its head here or elsewhere.
fn after_a_run(events: Option<&[&str]>, known: &Known, own: bool) -> Vec<(&'static str, Value)> {
    let run = Value::open_object(vec![
        ("event", events.map_or(Value::Unknown, choice)),
        ("head_repository", repository_object(known, own)),
        ("repository", repository_object(known, true)),
    ]);
    without_head(vec![("workflow_run", run), ("pull_request", Value::Null), ("issue", Value::Null)])
}

/// A comment, an issue, a discussion; whose, is told by the association of what the event is about.
fn written_by(event: &str, associations: Option<&[&str]>) -> Vec<(&'static str, Value)> {
    let author = || {
        let association = associations.map_or(Value::Unknown, choice);
        Value::open_object(vec![("author_association", association)])
    };
    let mut payload = vec![("pull_request", Value::Null), ("workflow_run", Value::Null)];
    match event {
        // The issue below a comment may be anyone's.
        "issue_comment" | "discussion_comment" => payload.push(("comment", author())),
        // Who has no rights acts on no issue and no discussion but their own.
        "issues" => payload.push(("issue", author())),
        "discussion" => payload.push(("discussion", author())),
        _ => {}
    }
    without_head(payload)
}

fn of_a_writer(event: &str) -> Vec<(&'static str, Value)> {
    let absent = ["pull_request", "workflow_run", "comment", "issue"];
    let mut fields = without_head(absent.map(|field| (field, Value::Null)).to_vec());
    if event == "merge_group" {
        fields.push(("ref", text_between("refs/heads/gh-readonly-queue/", "")));
    }
    fields
}

fn without_head(payload: Vec<(&str, Value)>) -> Vec<(&'static str, Value)> {
    vec![("event", Value::open_object(payload)), ("head_ref", Value::text("")), ("base_ref", Value::text(""))]
}

fn choice(texts: &[&str]) -> Value {
    Value::one_of(texts.iter().copied().map(Value::text))
}
