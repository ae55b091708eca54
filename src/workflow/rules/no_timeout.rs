use super::{
    super::finding::{Finding, Rule, Severity},
    Subject,
};

pub const RULE: Rule = Rule {
    id: "no-timeout",
    summary: "A job on this runner has no `timeout-minutes`",
    why: "One runner runs one job at a time. A build that hangs keeps it for six hours, which is GitHub's default, and \
          everything else queues behind it.",
    example: "jobs:\n  build:\n    runs-on: [self-hosted, vega]\n    steps: [{run: nix build}]\n",
    remedy: "jobs:\n  build:\n    runs-on: [self-hosted, vega]\n    timeout-minutes: 120\n    steps: [{run: nix build}]\n",
    severity: Severity::Warning,
};

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for reaching in subject.reaching().filter(|reaching| reaching.job.body.get("timeout-minutes").is_none()) {
        let title = format!("the job '{}' may keep this runner for six hours", reaching.name());
        findings.push(
            Finding::new(&RULE, reaching.key(), title, "no `timeout-minutes`")
                .with_help("set `timeout-minutes` to twice what the build takes when it takes long"),
        );
    }
}
