use super::{
    super::{
        event::Hand,
        finding::{Finding, Rule, Severity},
    },
    Subject,
};
use crate::contract::ALLOWED_EVENTS;

pub const RULE: Rule = Rule {
    id: "refused-event",
    summary: "A job comes here by an event that the runner refuses",
    why: "Before a job's first step the runner's own hook looks at the event, and fails the job unless it is one that \
          only people with the right to write can cause and that carries no pull request. Such a job does not hang \
          and does no harm: it fails, each time, after it has waited for the runner.",
    example: "on: [push, deployment]\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n",
    remedy: "on: [push, workflow_dispatch]\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n",
    severity: Severity::Warning,
};

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for reach in &subject.found.reaches {
        // What strangers can start is told as the error that it is.
        let refused = |event: &str| !ALLOWED_EVENTS.contains(&event);
        let strangers = |event: &str| reach.by(Hand::Stranger).any(|start| start.event == event);
        let starts = reach.starts.iter().filter(|start| start.hand < Hand::Stranger);
        let mut told: Vec<&str> = Vec::new();
        for start in starts.filter(|start| refused(&start.event) && !strangers(&start.event)) {
            if told.contains(&start.event.as_str()) {
                continue;
            }
            told.push(&start.event);
            let title = format!("the runner refuses the job '{}' when {} starts it", reach.job, start.event);
            findings.push(
                Finding::new(
                    &RULE,
                    start.trigger.clone(),
                    title,
                    "the hook before the first step fails this",
                )
                .with_related(reach.place.clone(), "the job that comes here")
                .with_help(format!("it takes {} only", ALLOWED_EVENTS.join(", "))),
            );
        }
    }
}
