use super::{
    super::{
        finding::{Edit, Finding, Fix, Rule, Severity},
        set::Reference,
    },
    Subject,
};

pub const RULE: Rule = Rule {
    id: "unpinned-action",
    summary: "An action is named by a tag or a branch, which can be moved",
    why: "Whoever can move the tag, or takes over the account that can, runs code in every job that names it, on this \
          machine. A commit cannot be moved. Dependabot and Renovate keep pinned actions up to date, and read the \
          version from the comment.",
    example: "steps:\n  - uses: actions/checkout@v5\n",
    remedy: "steps:\n  - uses: actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0\n",
    severity: Severity::Warning,
};

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for reaching in subject.reaching() {
        for (_, uses, name) in reaching.actions() {
            let (what, help) = if let Some(image) = name.strip_prefix("docker://") {
                if image.contains("@sha256:") {
                    continue;
                }
                ("an image by a tag", "name it by its digest: docker://IMAGE@sha256:…")
            } else if name.starts_with("./") {
                continue;
            } else {
                match Reference::parse(name) {
                    Some(reference) if reference.is_pinned() => continue,
                    _ => (
                        "an action by a name that can be moved",
                        "name the commit, with the version as a comment",
                    ),
                }
            };
            let file = reaching.file;
            let text = &reaching.workflow.text;
            let line_end = text[uses.span.end..].find('\n').map_or(text.len(), |at| uses.span.end + at);
            // Quotes and comments are the writer's; only a bare name is rewritten.
            let is_bare = text[uses.span.clone()] == *name && text[uses.span.end..line_end].trim().is_empty();
            let fix = subject.actions.commit(name).zip(Reference::parse(name)).filter(|_| is_bare).map(
                |(commit, reference)| {
                    let start = uses.span.end - reference.revision.len();
                    Fix {
                        file,
                        does: format!("name {} by its commit", reference.repository),
                        edits: vec![Edit {
                            range: start..uses.span.end,
                            text: format!("{commit} # {}", reference.revision),
                        }],
                    }
                },
            );
            let title = format!("the job '{}' runs {name}, whatever that is tomorrow", reaching.name());
            findings
                .push(Finding::new(&RULE, reaching.place(uses), title, what).with_help(help).with_fix(fix));
        }
    }
}
