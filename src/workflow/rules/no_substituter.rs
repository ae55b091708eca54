use super::{
    super::{
        finding::{Finding, Rule, Severity},
        reach::Place,
        yaml::Node,
    },
    Subject,
};

pub const RULE: Rule = Rule {
    id: "no-substituter",
    summary: "A job builds with Nix and names no substituter of the owner's",
    why: "What a heavy build has made once is in the owner's cache, signed. A job that does not name that cache as a \
          substituter builds all of it again as soon as the store's volume is new or its garbage was collected.",
    example: "steps:\n  - run: nix build .#heavy\n",
    remedy: "steps:\n  - run: nix build .#heavy --option extra-substituters https://cache.example.org --option extra-trusted-public-keys cache.example.org-1:KEY\n",
    severity: Severity::Warning,
};

/// What builds.
const BUILDS: [&str; 7] =
    ["nix build", "nix-build", "nix flake check", "nix develop", "nix run", "nix-shell", "nix-fast-build"];
/// What names a substituter, or sets one up.
const NAMES: [&str; 5] = ["substituters", "cachix", "attic", "vega push", "NIX_CONFIG"];

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    if subject.known.has_substituters || subject.actions.flake_names_substituter() {
        return;
    }
    for reaching in subject.reaching() {
        let text = &reaching.workflow.text;
        let build = |(_, run, _): &(_, &Node, _)| {
            let at = BUILDS.iter().filter_map(|command| text[run.span.clone()].find(command)).min()?;
            let start = run.span.start + at;
            Some(start..start + text[start..].lines().next().map_or(0, |line| line.trim_end().len()))
        };
        let Some(span) = reaching.scripts().iter().find_map(build) else { continue };
        if NAMES.iter().any(|name| text.contains(name)) {
            continue;
        }
        let title = format!("the job '{}' builds again what the owner's cache may have", reaching.name());
        findings.push(
            Finding::new(
                &RULE,
                Place::of(reaching.file, &span),
                title,
                "builds with no substituter but the public ones",
            )
            .with_help(
                "name it in the flake's `nixConfig`, in the command, or for every job of the runner with \
                 `vega-builder up --extra-substituters`",
            ),
        );
    }
}
