use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        edit,
        finding::{Finding, Fix, Rule, Severity},
        yaml::{Node, Yaml},
    },
    Reaching, Subject,
};

use crate::value::TokenDefault;

pub const RULE: Rule = Rule {
    id: "excessive-permissions",
    summary: "A job's token may do more than it needs",
    why: "What runs in a job holds its GITHUB_TOKEN. Where `permissions` says nothing the repository's setting decides, \
          and that may be to write to everything. A build that is turned against you then writes to the repository; \
          one that may only read does not.",
    example: "on: push\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n",
    remedy: "on: push\npermissions:\n  contents: read\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n",
    severity: Severity::Warning,
};

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let mut fixes = BTreeMap::new();
    let mut told = BTreeSet::new();
    for reaching in subject.reaching() {
        let of_job = reaching.job.body.entry("permissions");
        let of_workflow = reaching.workflow.root.entry("permissions");
        let finding = match (of_job, of_workflow) {
            (Some((_, given)), _) => is_write_all(given).then(|| everything(&reaching, given)),
            (None, Some((_, given))) if is_write_all(given) => Some(everything(&reaching, given)),
            (None, Some((_, given))) => for_every_job(&reaching, given),
            (None, None) if token_default(subject) == Some(TokenDefault::Read) => None,
            (None, None) if callers_limit(subject, &reaching) => None,
            (None, None) => {
                let fix = fixes.entry(reaching.file).or_insert_with(|| read_only(&reaching)).clone();
                Some(left_open(subject, &reaching).with_fix(fix))
            }
        };
        findings.extend(finding.filter(|finding| told.insert(finding.location.clone())));
    }
}

/// A called workflow has no more than its callers give it.
fn callers_limit(subject: &Subject<'_>, reaching: &Reaching<'_>) -> bool {
    let limits = |file| subject.set.get(file).is_some_and(|caller| caller.root.get("permissions").is_some());
    reaching.reach.starts.iter().all(|start| !start.calls.is_empty() && limits(start.trigger.file))
}

/// The repository's setting, when GitHub was asked.
fn token_default(subject: &Subject<'_>) -> Option<TokenDefault> {
    subject.known.settings.as_ref()?.token
}

fn is_write_all(given: &Node) -> bool {
    given.text() == Some("write-all")
}

fn everything(reaching: &Reaching<'_>, given: &Node) -> Finding {
    let title = format!("the token of the job '{}' may write to everything", reaching.name());
    Finding::new(&RULE, reaching.place(given), title, "every permission there is")
        .with_help("name what the job writes to, e.g. `permissions: {contents: read, packages: write}`")
}

/// What the whole workflow may write to, though only one job of several needs it.
fn for_every_job(reaching: &Reaching<'_>, given: &Node) -> Option<Finding> {
    let writes = |(_, value): &&(_, Node)| value.text() == Some("write");
    let (key, value) = given.pairs().iter().find(writes)?;
    if reaching.workflow.jobs().len() < 2 || !matches!(given.value, Yaml::Mapping(_)) {
        return None;
    }
    let title =
        format!("the token of the job '{}' may write to {}, as every job's here", reaching.name(), key.name);
    Some(
        Finding::new(&RULE, reaching.place(value), title, "given to every job of the workflow")
            .with_help("give it to the job that needs it, under that job's own `permissions`"),
    )
}

fn left_open(subject: &Subject<'_>, reaching: &Reaching<'_>) -> Finding {
    let label = match token_default(subject) {
        Some(TokenDefault::Write) => "no `permissions`, and the repository's setting is to write",
        _ => "no `permissions`: the repository's setting decides, and that may be to write",
    };
    let title = format!("nothing limits the token of the job '{}'", reaching.name());
    Finding::new(&RULE, reaching.key(), title, label)
        .with_help("add `permissions: {contents: read}` to the workflow, and more to the job that needs more")
}

/// One for the whole file. What writes with the token would no longer work: that takes thought.
fn read_only(reaching: &Reaching<'_>) -> Option<Fix> {
    let (workflow, file) = (reaching.workflow, reaching.file);
    if writes(&workflow.text) {
        return None;
    }
    let lines = ["permissions:", "  contents: read", ""];
    let edit = edit::before_key(&workflow.text, &workflow.root, "jobs", &lines)?;
    let does = "let the token of every job read the repository, and no more".to_owned();
    Some(Fix { file, does, edits: vec![edit] })
}

fn writes(text: &str) -> bool {
    let signs = [
        "git push",
        "gh ",
        "github.token",
        "GITHUB_TOKEN",
        "create-pull-request",
        "gh-release",
        "deploy",
        "docker/",
    ];
    signs.iter().any(|sign| text.contains(sign))
}
