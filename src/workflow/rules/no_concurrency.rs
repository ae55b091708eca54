use super::{
    super::{
        edit,
        finding::{Finding, Fix, Rule, Severity},
    },
    Subject,
};

pub const RULE: Rule = Rule {
    id: "no-concurrency",
    summary: "A workflow that pushes start has no `concurrency`",
    why: "Ten pushes in an hour are ten heavy builds in a row on one machine, nine of them of commits that nobody \
          looks at any more. With a concurrency group a newer push takes the place of an older one that still waits.",
    example: "on: push\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n",
    remedy: "on: push\nconcurrency:\n  group: ${{ github.workflow }}-${{ github.ref }}\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n",
    severity: Severity::Warning,
};

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let mut told = Vec::new();
    for reaching in subject.reaching() {
        let pushed = reaching.reach.starts.iter().find(|start| start.event == "push");
        let Some(start) = pushed else { continue };
        let file = start.trigger.file;
        let Some(workflow) = subject.set.get(file) else { continue };
        let has_own = reaching.workflow.root.get("concurrency").or(reaching.job.body.get("concurrency"));
        if has_own.is_some() || workflow.root.get("concurrency").is_some() || told.contains(&file) {
            continue;
        }
        told.push(file);
        let lines = ["concurrency:", "  group: ${{ github.workflow }}-${{ github.ref }}", ""];
        let edit = edit::before_key(&workflow.text, &workflow.root, "jobs", &lines);
        let title = "every push is a build of its own, one after the other".to_owned();
        findings.push(
            Finding::new(&RULE, start.trigger.clone(), title, "no `concurrency` in this workflow")
                .with_related(reaching.key(), "the job that they wait for")
                .with_help("a group lets a newer push take the place of one that still waits; with `cancel-in-progress: true` also of one that builds")
                .with_fix(edit.map(|edit| Fix {
                    file,
                    does: "add a concurrency group of the workflow and the branch".to_owned(),
                    edits: vec![edit],
                })),
        );
    }
}
