use super::{
    super::{
        event::{self, Hand},
        finding::{Finding, Rule, Severity},
        reach::Place,
        yaml::Node,
    },
    Subject,
};

pub const RULE: Rule = Rule {
    id: "poisoned-cache",
    summary: "A job here restores a cache that strangers can write",
    why: "GitHub's cache belongs to a branch, and what is saved on the default branch is restored everywhere. A workflow \
          that a stranger can start and that runs on the default branch (pull_request_target, a comment, the end of \
          another workflow) saves there. If it ever runs what the stranger sent, the next build on this machine \
          restores it.",
    example: "# file: greet.yml\non: issue_comment\njobs:\n  greet:\n    runs-on: ubuntu-latest\n    steps:\n      \
              - uses: actions/cache@v5\n        with: {path: out, key: out}\n# file: build.yml\non: push\njobs:\n  \
              build:\n    runs-on: [self-hosted, vega]\n    steps:\n      - uses: actions/cache@v5\n        \
              with: {path: out, key: out}\n",
    remedy: "# file: greet.yml\non: issue_comment\njobs:\n  greet:\n    runs-on: ubuntu-latest\n    steps:\n      \
             - uses: actions/cache@v5\n        with: {path: out, key: out}\n# file: build.yml\non: push\njobs:\n  \
             build:\n    runs-on: [self-hosted, vega]\n    steps:\n      - run: nix build\n",
    severity: Severity::Warning,
};

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let Some((writer, event)) = strangers_writer(subject) else { return };
    for reaching in subject.reaching() {
        for (_, uses, name) in reaching.actions().into_iter().filter(|(step, _, name)| restores(step, name)) {
            let title = format!("the job '{}' restores what a stranger may have saved", reaching.name());
            findings.push(
                Finding::new(&RULE, reaching.place(uses), title, format!("{name} restores a cache"))
                    .with_related(writer.clone(), format!("and {event} starts this, on the default branch, with a cache too"))
                    .with_help("leave the cache out of one of them; a Nix build is cached by its store path, and signed"),
            );
        }
    }
}

/// A workflow that saves a cache on the default branch and that a stranger can start.
fn strangers_writer(subject: &Subject<'_>) -> Option<(Place, String)> {
    subject.set.own().find_map(|(file, workflow)| {
        let on_default =
            |event: &str| event::runs_on_default_branch(event) && event::hand(event) == Hand::Stranger;
        let trigger = workflow.triggers().into_iter().find(|trigger| on_default(&trigger.event))?;
        let saves = workflow.jobs().iter().any(|job| {
            let steps = job.steps().iter();
            steps
                .filter_map(|step| Some((step, step.get("uses")?.text()?)))
                .any(|(step, name)| restores(step, name))
        });
        saves.then(|| (Place::of(file, &trigger.span), trigger.event.clone()))
    })
}

/// Whether a step restores (and, unless told otherwise, saves) GitHub's cache.
fn restores(step: &Node, uses: &str) -> bool {
    let name = uses.split('@').next().unwrap_or_default().to_ascii_lowercase();
    let with = |input: &str| step.get("with").and_then(|with| with.get(input)).and_then(Node::scalar_text);
    match name.as_str() {
        "actions/cache"
        | "actions/cache/restore"
        | "actions/cache/save"
        | "determinatesystems/magic-nix-cache-action"
        | "nix-community/cache-nix-action"
        | "swatinem/rust-cache" => true,
        "actions/setup-node" | "actions/setup-python" | "actions/setup-java" => {
            with("cache").is_some_and(|kind| !kind.is_empty())
        }
        "actions/setup-go" => with("cache").as_deref() != Some("false"),
        _ => false,
    }
}
