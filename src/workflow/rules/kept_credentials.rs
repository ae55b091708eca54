use super::{
    super::{
        edit,
        finding::{Finding, Fix, Rule, Severity},
        set::Reference,
        yaml::{Node, Yaml},
    },
    Subject,
};

pub const RULE: Rule = Rule {
    id: "kept-credentials",
    summary: "actions/checkout leaves the job's token on disk",
    why: "Unless told otherwise actions/checkout keeps the job's GITHUB_TOKEN where git finds it, in the work folder or \
          beside it. Every later step can read it there, every build that is given the source tree may carry it into \
          the Nix store, and from there into a cache.",
    example: "steps:\n  - uses: actions/checkout@v5\n",
    remedy: "steps:\n  - uses: actions/checkout@v5\n    with:\n      persist-credentials: false\n",
    severity: Severity::Warning,
};

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for reaching in subject.reaching() {
        for (step, uses, name) in reaching.actions() {
            let is_checkout = Reference::parse(name)
                .is_some_and(|reference| reference.repository.eq_ignore_ascii_case("actions/checkout"));
            if !is_checkout || !keeps(step) {
                continue;
            }
            let text = &reaching.workflow.text;
            let given = step.get("with").and_then(|with| with.get("persist-credentials"));
            let edit = match (step.get("with"), given) {
                // Somebody wanted it so.
                (_, Some(_)) => None,
                (Some(with), None) => edit::first_in(text, with, &["persist-credentials: false"]),
                (None, None) => {
                    edit::after_key(text, step, "uses", &["with:", "  persist-credentials: false"])
                }
            };
            // A script that pushes needs what is kept.
            let pushes = reaching.scripts().iter().any(|(_, _, script)| script.contains("git push"));
            let fix = edit.filter(|_| !pushes).map(|edit| Fix {
                file: reaching.file,
                does: "add `persist-credentials: false`".to_owned(),
                edits: vec![edit],
            });
            let title =
                format!("the job '{}' keeps its token where every later step can read it", reaching.name());
            findings.push(
                Finding::new(&RULE, reaching.place(uses), title, "keeps the token for git")
                    .with_help("add `with: {persist-credentials: false}`; a step that pushes can be given the token itself")
                    .with_fix(fix),
            );
        }
    }
}

fn keeps(step: &Node) -> bool {
    let given = step.get("with").and_then(|with| with.get("persist-credentials"));
    match given.map(|given| &given.value) {
        Some(Yaml::Bool(keeps)) => *keeps,
        Some(Yaml::Text(text)) => !text.eq_ignore_ascii_case("false"),
        _ => true,
    }
}
