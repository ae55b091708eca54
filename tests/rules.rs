//! Every rule: found in its own example, not found in its own remedy, mended by its own fix; and its text, as a
//! person reads it, in `tests/snapshots`.

use std::{fs, path::Path, process::Command};

use vega_builder::{
    value::{RepositorySettings, RunnerGroup},
    workflow::{Finding, Known, Rule, Severity, check_settings, rules},
};

const SETTINGS: [&str; 3] = ["unapproved-forks", "private-forks", "open-group"];

/// The files of an example: whole ones by name, or a part of one.
fn files(text: &str) -> Vec<(String, String)> {
    if let Some(named) = text.strip_prefix("# file: ") {
        let file = |part: &str| {
            let (name, text) = part.split_once('\n').unwrap();
            (name.to_owned(), text.to_owned())
        };
        return named.split("# file: ").map(file).collect();
    }
    let whole = if text.starts_with("steps:") {
        let steps: Vec<String> = text.lines().map(|line| format!("    {line}\n")).collect();
        format!("on: push\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n{}", steps.concat())
    } else if text.starts_with("jobs:") {
        format!("on: push\n{text}")
    } else {
        text.to_owned()
    };
    vec![("ci.yml".to_owned(), whole)]
}

struct Lint {
    folder: tempfile::TempDir,
}

impl Lint {
    fn of(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workflows = folder.path().join(".github/workflows");
        fs::create_dir_all(&workflows).unwrap();
        for (name, text) in files(text) {
            fs::write(workflows.join(name), text).unwrap();
        }
        Self { folder }
    }

    fn run(&self, more: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_vega-builder"))
            .args(["lint", "--labels", "self-hosted,vega"])
            .args(more)
            .current_dir(self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.code().is_some_and(|code| code < 2),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says of one rule.
    fn told(&self, rule: &Rule) -> String {
        let all = self.run(&[]);
        let blocks = all.split("\n\n").filter(|block| block.contains(&format!("[{}]", rule.id)));
        blocks.collect::<Vec<_>>().join("\n\n")
    }

    fn text(&self) -> String {
        let folder = self.folder.path().join(".github/workflows");
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| read(path)).collect()
    }
}

fn about_workflows() -> impl Iterator<Item = &'static Rule> {
    rules().filter(|rule| !SETTINGS.contains(&rule.id))
}

#[test]
fn every_rule_is_found_in_its_example_and_not_in_its_remedy() {
    for rule in about_workflows() {
        let found = Lint::of(rule.example).told(rule);
        assert!(!found.is_empty(), "{} is not found in its example", rule.id);
        let left = Lint::of(rule.remedy).told(rule);
        assert!(left.is_empty(), "{} is found in its remedy: {left}", rule.id);
        let explained = Lint::of(rule.example).run(&["--explain", rule.id]);
        insta::assert_snapshot!(rule.id, format!("{explained}\nAs it is told:\n\n{found}\n"));
    }
}

/// `docs/lint-rules.md` is made from the rules: `VEGA_UPDATE_DOCS=1 cargo test --test rules` writes it.
#[test]
fn the_documented_rules_are_the_rules() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lint-rules.md");
    let head = "# The rules of lint\n\nMade from the rules themselves; `vega-builder lint --explain RULE` says the same. How lint \
                works is told in [lint.md](lint.md).\n";
    let page = |rule: &Rule| {
        let severity = if rule.severity == Severity::Error { "error" } else { "warning" };
        format!(
            "\n## {} ({severity})\n\n{}. {}\n\nFound in:\n\n```yaml\n{}```\n\nNot found in:\n\n```yaml\n{}```\n",
            rule.id, rule.summary, rule.why, rule.example, rule.remedy
        )
    };
    let text = std::iter::once(head.to_owned()).chain(rules().map(page)).collect::<Vec<_>>().concat();
    if std::env::var_os("VEGA_UPDATE_DOCS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert!(
        fs::read_to_string(file).is_ok_and(|known| known == text),
        "type VEGA_UPDATE_DOCS=1 cargo test --test rules"
    );
}

#[test]
fn what_a_fix_mends_is_mended_and_everything_else_stays() {
    let mut mended = Vec::new();
    for rule in about_workflows().filter(|rule| rule.id != "unpinned-action") {
        let lint = Lint::of(rule.example);
        if !lint.told(rule).contains("`--fix` will") {
            continue;
        }
        let before = lint.text();
        lint.run(&["--fix"]);
        let after = lint.text();
        assert_eq!(lint.told(rule), "", "{} is still found:\n{after}", rule.id);
        // Nothing is taken away but what a variable takes the place of.
        let kept = |line: &&str| line.contains("${{") || after.lines().any(|known| known == *line);
        assert!(before.lines().all(|line| kept(&line)), "{}:\n{before}\n{after}", rule.id);
        assert_eq!(lint.run(&["--fix"]), lint.run(&[]), "{}: a second time changes something", rule.id);
        mended.push(rule.id);
    }
    assert_eq!(mended, ["untrusted-input", "excessive-permissions", "kept-credentials", "no-concurrency"]);
}

/// The settings of an example, over those that let nobody in.
fn settings(text: &str) -> RepositorySettings {
    let has = |line: &str| text.lines().any(|known| known == line);
    let private = text.contains("fork_pull_requests") || text.contains("allows_public");
    let policy = text.lines().find_map(|line| line.strip_prefix("approval_policy: "));
    let policy = policy.unwrap_or("all_external_contributors");
    let forks = format!(
        r#"{{"run_workflows_from_fork_pull_requests":{},"require_approval_for_fork_pr_workflows":true}}"#,
        has("run_workflows_from_fork_pull_requests: true")
    );
    let forks = if has("require_approval_for_fork_pr_workflows: false") {
        forks.replace(":true}", ":false}")
    } else {
        forks
    };
    RepositorySettings {
        page: "https://github.com/octo-org/heavy".to_owned(),
        private,
        approval: Some(serde_json::from_value(policy.into()).unwrap()),
        forks: private.then(|| serde_json::from_str(&forks).unwrap()),
        token: None,
        writers: Some(3),
        group: text.contains("allows_public").then(|| RunnerGroup {
            name: "big".to_owned(),
            allows_public_repositories: has("allows_public_repositories: true"),
            restricted_to_workflows: has("restricted_to_workflows: true"),
        }),
    }
}

fn found_in_settings(text: &str) -> Vec<Finding> {
    let mut known = Known::of_runner(&"self-hosted,vega".parse().unwrap(), "X64");
    known.repository = Some("octo-org/heavy".to_owned());
    known.settings = Some(settings(text));
    check_settings(&known)
}

#[test]
fn every_rule_about_settings_is_found_in_its_example_and_not_in_its_remedy() {
    for rule in rules().filter(|rule| SETTINGS.contains(&rule.id)) {
        let found = found_in_settings(rule.example);
        assert!(
            !found.is_empty() && found.iter().all(|finding| finding.rule == rule),
            "{}: {found:?}",
            rule.id
        );
        assert!(found_in_settings(rule.remedy).is_empty(), "{} is found in its remedy", rule.id);
        let told = |finding: &Finding| format!("{}\n  {}\n", finding.title, finding.help.join("\n  "));
        let explained = Lint::of("on: push\njobs: {a: {runs-on: x}}\n").run(&["--explain", rule.id]);
        let found: String = found.iter().map(told).collect();
        insta::assert_snapshot!(rule.id, format!("{explained}\nAs it is told:\n\n{found}"));
    }
}

#[test]
fn what_cannot_be_read_of_the_settings_counts() {
    let mut known = Known::of_runner(&"vega".parse().unwrap(), "X64");
    for private in [false, true] {
        let unknown = RepositorySettings { approval: None, forks: None, private, ..settings("") };
        known.settings = Some(unknown);
        assert_eq!(check_settings(&known).len(), 1, "private: {private}");
    }
}
