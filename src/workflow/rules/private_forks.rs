use super::super::{
    finding::{Finding, Rule, Severity},
    known::Known,
};
use crate::value::{ForkRuns, RepositorySettings};

pub const RULE: Rule = Rule {
    id: "private-forks",
    summary: "In this private repository the workflows of forks run without anybody's approval",
    why: "Everybody who may read a private repository may fork it, if its organisation allows that. A pull request from \
          such a fork brings its own workflow files, and with this setting they run on this machine: the right to read \
          becomes the right to run.",
    example: "run_workflows_from_fork_pull_requests: true\nrequire_approval_for_fork_pr_workflows: false\n",
    remedy: "run_workflows_from_fork_pull_requests: false\n",
    severity: Severity::Error,
};

pub fn check(known: &Known, findings: &mut Vec<Finding>) {
    let Some(settings @ RepositorySettings { private: true, forks, .. }) = &known.settings else {
        return;
    };
    let title = match forks {
        Some(ForkRuns { run: false, .. } | ForkRuns { need_approval: true, .. }) => return,
        Some(_) => "whoever may read this private repository can run any job on this runner, by a fork",
        None => "whether the workflows of forks run could not be read, and so they may",
    };
    let help = vec!["take the tick from \"Run workflows from fork pull requests\" there".to_owned()];
    findings.push(Finding::of_setting(
        &RULE,
        format!("{}/settings/actions", settings.page),
        title.to_owned(),
        help,
    ));
}
