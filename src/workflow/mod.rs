//! What can reach a runner: workflows, their triggers, and the jobs that land on its labels.
//!
//! ```text
//! yaml → file (triggers, jobs) → situation (an event by someone's hand) → matrix, runs_on → reach → rules
//! ```

mod edit;
mod event;
pub mod expression;
mod file;
mod finding;
mod inputs;
mod known;
mod lines;
mod matrix;
mod needs;
mod reach;
mod rules;
mod runs_on;
mod set;
mod situation;
mod yaml;

pub use edit::apply;
pub use event::{Hand, strangers_way};
pub use file::{FOLDER, Job, Trigger, Workflow, is_workflow_file};
pub use finding::{Edit, Finding, Fix, Location, Rule, Severity};
pub use known::{Known, Variables};
pub use lines::Lines;
pub use reach::{Found, Miss, Place, Reach, Start, reach};
pub use rules::{Actions, NoActions, Subject, actions_used, check, check_settings, rules};
pub use runs_on::Certainty;
pub use set::{FileId, Reference, Set, Unread};
#[cfg(test)]
pub use yaml::read as read_yaml;
pub use yaml::{Fault, Node, Yaml};

/// `runs.using` of an action's metadata (`action.yml`).
pub fn using(metadata: &str) -> Option<String> {
    yaml::read(metadata).ok()?.get("runs")?.get("using")?.scalar_text()
}
