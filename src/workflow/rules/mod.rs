//! One rule a file: what it looks for, why that matters here, an example and its remedy.

mod excessive_permissions;
mod job_wide_secret;
mod kept_credentials;
mod no_concurrency;
mod no_substituter;
mod no_timeout;
mod node20_action;
mod open_group;
mod poisoned_cache;
mod private_forks;
mod refused_event;
mod stranger;
mod unapproved_forks;
mod unpinned_action;
mod untrusted_input;

use super::{
    file::{Job, Workflow},
    finding::{Finding, Rule},
    known::Known,
    reach::{Found, Place, Reach},
    set::{FileId, Set},
    yaml::Node,
};

/// Everything that rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub set: &'a Set,
    pub known: &'a Known,
    pub found: &'a Found,
    /// What is known of the actions that steps use.
    pub actions: &'a dyn Actions,
}

/// What can be asked of an action that a step uses.
pub trait Actions: std::fmt::Debug {
    /// `runs.using` of its metadata: `node20`, `composite`, …
    fn using(&self, uses: &str) -> Option<String>;
    /// The commit that its revision is now.
    fn commit(&self, uses: &str) -> Option<String>;
    /// Whether the repository's flake names a substituter of its own.
    fn flake_names_substituter(&self) -> bool;
}

/// Nothing but the workflow files is at hand.
#[derive(Debug)]
pub struct NoActions;

impl Actions for NoActions {
    fn using(&self, _: &str) -> Option<String> {
        None
    }

    fn commit(&self, _: &str) -> Option<String> {
        None
    }

    fn flake_names_substituter(&self) -> bool {
        false
    }
}

type Check = fn(&Subject<'_>, &mut Vec<Finding>);
type CheckSettings = fn(&Known, &mut Vec<Finding>);

/// Every rule about workflows, in the order in which they are told.
const ABOUT_WORKFLOWS: [(&Rule, Check); 12] = [
    (&stranger::RULE, stranger::check),
    (&refused_event::RULE, refused_event::check),
    (&untrusted_input::RULE, untrusted_input::check),
    (&excessive_permissions::RULE, excessive_permissions::check),
    (&kept_credentials::RULE, kept_credentials::check),
    (&job_wide_secret::RULE, job_wide_secret::check),
    (&unpinned_action::RULE, unpinned_action::check),
    (&poisoned_cache::RULE, poisoned_cache::check),
    (&node20_action::RULE, node20_action::check),
    (&no_timeout::RULE, no_timeout::check),
    (&no_concurrency::RULE, no_concurrency::check),
    (&no_substituter::RULE, no_substituter::check),
];

/// Every rule about a repository's settings.
const ABOUT_SETTINGS: [(&Rule, CheckSettings); 3] = [
    (&unapproved_forks::RULE, unapproved_forks::check),
    (&private_forks::RULE, private_forks::check),
    (&open_group::RULE, open_group::check),
];

pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let about_workflows = ABOUT_WORKFLOWS.iter().map(|(rule, _)| *rule);
    about_workflows.chain(ABOUT_SETTINGS.iter().map(|(rule, _)| *rule))
}

/// What all rules find in workflows, the worst first.
pub fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, check) in ABOUT_WORKFLOWS {
        check(subject, &mut findings);
    }
    findings.sort_by(|one, two| {
        let key = |finding: &Finding| (std::cmp::Reverse(finding.severity), finding.location.clone());
        key(one).cmp(&key(two))
    });
    findings
}

/// What all rules find in a repository's settings.
pub fn check_settings(known: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, check) in ABOUT_SETTINGS {
        check(known, &mut findings);
    }
    findings
}

/// The actions that jobs on the runner use, each once.
pub fn actions_used(set: &Set, known: &Known, found: &Found) -> Vec<String> {
    let subject = Subject { set, known, found, actions: &NoActions };
    let used = subject
        .reaching()
        .flat_map(|reaching| reaching.actions().into_iter().map(|(_, _, name)| name.to_owned()));
    used.collect::<std::collections::BTreeSet<String>>().into_iter().collect()
}

/// A job that lands on the runner, with its file.
struct Reaching<'a> {
    reach: &'a Reach,
    file: FileId,
    workflow: &'a Workflow,
    job: Job<'a>,
}

impl<'a> Subject<'a> {
    /// The jobs that land on the runner; not the calls of what cannot be read.
    fn reaching(&self) -> impl Iterator<Item = Reaching<'a>> + use<'a> {
        let set = self.set;
        self.found.reaches.iter().filter(|reach| reach.unfollowed.is_none()).filter_map(move |reach| {
            let file = reach.place.file;
            let workflow = set.get(file)?;
            let job = workflow.job(reach.number)?;
            Some(Reaching { reach, file, workflow, job })
        })
    }
}

impl<'a> Reaching<'a> {
    fn place(&self, node: &Node) -> Place {
        Place::of(self.file, &node.span)
    }

    fn key(&self) -> Place {
        Place::of(self.file, self.job.key)
    }

    fn name(&self) -> &'a str {
        self.job.id
    }

    /// The steps that use an action: the step, the `uses` node, and its text.
    fn actions(&self) -> Vec<(&'a Node, &'a Node, &'a str)> {
        let body: &'a Node = self.job.body;
        let steps = body.get("steps").map(Node::items).unwrap_or_default();
        let uses = |step: &'a Node| {
            let uses = step.get("uses")?;
            Some((step, uses, uses.text()?))
        };
        steps.iter().filter_map(uses).collect()
    }

    /// The scripts of its steps.
    fn scripts(&self) -> Vec<(&'a Node, &'a Node, &'a str)> {
        let body: &'a Node = self.job.body;
        let steps = body.get("steps").map(Node::items).unwrap_or_default();
        let run = |step: &'a Node| {
            let run = step.get("run")?;
            Some((step, run, run.text()?))
        };
        steps.iter().filter_map(run).collect()
    }
}
