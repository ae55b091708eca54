use super::{
    super::{
        finding::{Finding, Rule, Severity},
        set::Reference,
    },
    Subject,
};

pub const RULE: Rule = Rule {
    id: "node20-action",
    summary: "An action wants a Node.js that the runner does not have",
    why: "The runner of the image has Node.js 24 and no other. An action whose metadata says `using: node20` (or older) \
          fails there at its first line.",
    example: "steps:\n  - uses: actions/checkout@v4\n",
    remedy: "steps:\n  - uses: actions/checkout@v5\n",
    severity: Severity::Warning,
};

/// The first major version of GitHub's own actions that runs on Node.js 24, for when their metadata is not at hand.
const FIRST_ON_NODE_24: [(&str, u32); 12] = [
    ("actions/cache", 5),
    ("actions/cache/restore", 5),
    ("actions/cache/save", 5),
    ("actions/checkout", 5),
    ("actions/deploy-pages", 5),
    ("actions/download-artifact", 7),
    ("actions/github-script", 8),
    ("actions/setup-go", 6),
    ("actions/setup-java", 5),
    ("actions/setup-node", 5),
    ("actions/setup-python", 6),
    ("actions/upload-artifact", 6),
];

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for reaching in subject.reaching() {
        for (_, uses, name) in reaching.actions() {
            let Some((old, help)) = outdated(subject, name, line_of(&reaching.workflow.text, uses.span.end))
            else {
                continue;
            };
            let title = format!("{name} does not run here: the runner has Node.js 24 only");
            findings.push(
                Finding::new(&RULE, reaching.place(uses), title, format!("wants {old}")).with_help(help),
            );
        }
    }
}

/// What an action wants in the place of Node.js 24, and what to do about it.
fn outdated(subject: &Subject<'_>, name: &str, rest_of_line: &str) -> Option<(String, String)> {
    if let Some(using) = subject.actions.using(name) {
        let version: u32 = using.strip_prefix("node")?.parse().ok()?;
        return (version < 24).then(|| (using, "take a version of it whose metadata says node24".to_owned()));
    }
    let first = first_on_node_24(name, rest_of_line)?;
    Some((format!("a Node.js before 24 (v{first} is the first with it)"), format!("take v{first} or later")))
}

/// The first version with Node.js 24, when this one is older by its tag, or by the comment behind its commit.
fn first_on_node_24(uses: &str, rest_of_line: &str) -> Option<u32> {
    let reference = Reference::parse(uses)?;
    let name = uses.split_once('@')?.0;
    let (_, first) = FIRST_ON_NODE_24.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    let comment = rest_of_line.trim().strip_prefix('#').map(str::trim);
    let version = if reference.is_pinned() { comment? } else { reference.revision };
    let digits: String = version.strip_prefix('v')?.chars().take_while(char::is_ascii_digit).collect();
    (digits.parse::<u32>().ok()? < *first).then_some(*first)
}

fn line_of(text: &str, from: usize) -> &str {
    text[from..].lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::first_on_node_24;

    #[test]
    fn the_version_is_the_tags_or_the_comments() {
        let pinned = format!("actions/checkout@{}", "a".repeat(40));
        for (uses, rest, first) in [
            ("actions/checkout@v4", "", Some(5)),
            ("actions/checkout@v4.2.2", "", Some(5)),
            ("actions/checkout@v5", "", None),
            ("actions/checkout@v10", "", None),
            ("Actions/Cache/restore@v4", "", Some(5)),
            ("actions/checkout@main", "", None),
            ("octo/checkout@v1", "", None),
            (pinned.as_str(), " # v4.1.0", Some(5)),
            (pinned.as_str(), " # v6", None),
            (pinned.as_str(), "", None),
        ] {
            assert_eq!(first_on_node_24(uses, rest), first, "{uses}{rest}");
        }
    }
}
