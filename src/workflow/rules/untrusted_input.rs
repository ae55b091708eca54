use std::ops::Range;

use super::{
    super::{
        edit,
        expression::{Segment, parse, segments},
        finding::{Edit, Finding, Fix, Rule, Severity},
        reach::Place,
        yaml::Node,
    },
    Reaching, Subject,
};

pub const RULE: Rule = Rule {
    id: "untrusted-input",
    summary: "Text that strangers write becomes part of a script",
    why: "An expression in `run` is put into the script before a shell reads it: an issue's title, a branch's name or a \
          commit's message that holds `$(…)` is then a command on this machine. That holds for pushes too, because a \
          merged pull request brings its messages along. A variable of the environment stays what it is: text.",
    example: "steps:\n  - run: echo \"${{ github.event.head_commit.message }}\"\n",
    remedy: "steps:\n  - run: echo \"${HEAD_COMMIT_MESSAGE}\"\n    env:\n      HEAD_COMMIT_MESSAGE: ${{ github.event.head_commit.message }}\n",
    severity: Severity::Warning,
};

/// What others than the owner write, as patterns of contexts.
///
/// Source: <https://docs.github.com/actions/reference/security/secure-use>, "untrusted input".
const TEXTS: [&str; 33] = [
    "github.event.comment.body",
    "github.event.commits.*.author.email",
    "github.event.commits.*.author.name",
    "github.event.commits.*.message",
    "github.event.discussion.body",
    "github.event.discussion.title",
    "github.event.head_commit.author.email",
    "github.event.head_commit.author.name",
    "github.event.head_commit.committer.email",
    "github.event.head_commit.committer.name",
    "github.event.head_commit.message",
    "github.event.issue.body",
    "github.event.issue.title",
    "github.event.pages.*.page_name",
    "github.event.pages.*.title",
    "github.event.pull_request.body",
    "github.event.pull_request.head.label",
    "github.event.pull_request.head.ref",
    "github.event.pull_request.head.repo.default_branch",
    "github.event.pull_request.head.repo.description",
    "github.event.pull_request.head.repo.homepage",
    "github.event.pull_request.title",
    "github.event.release.body",
    "github.event.review.body",
    "github.event.review_comment.body",
    "github.event.workflow_run.display_title",
    "github.event.workflow_run.head_branch",
    "github.event.workflow_run.head_commit.author.email",
    "github.event.workflow_run.head_commit.author.name",
    "github.event.workflow_run.head_commit.message",
    "github.event.workflow_run.head_repository.description",
    "github.event.workflow_run.pull_requests.*.head.ref",
    "github.head_ref",
];

/// Actions whose input is a script.
const SCRIPTS: [(&str, &str); 1] = [("actions/github-script", "script")];

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for reaching in subject.reaching() {
        for (step, script, text) in reaching.scripts() {
            for (number, context) in untrusted(text) {
                let fix = to_environment(&reaching, step, script, number, &context);
                findings.push(told(&reaching, script, number, &context, "the shell").with_fix(fix));
            }
        }
        for (step, _, name) in reaching.actions() {
            let input = SCRIPTS.iter().find(|(action, _)| name.starts_with(&format!("{action}@")));
            let script = input.and_then(|(_, input)| step.get("with")?.get(input));
            if let Some((script, text)) = script.and_then(|script| Some((script, script.text()?))) {
                for (number, context) in untrusted(text) {
                    findings.push(told(&reaching, script, number, &context, "JavaScript"));
                }
            }
        }
    }
}

fn told(reaching: &Reaching<'_>, script: &Node, number: usize, context: &str, reader: &str) -> Finding {
    let span = written_at(&reaching.workflow.text, script, number).unwrap_or_else(|| script.span.clone());
    let title = format!("text that strangers write is read as a script in the job '{}'", reaching.name());
    Finding::new(
        &RULE,
        Place::of(reaching.file, &span),
        title,
        format!("{reader} reads whatever {context} holds"),
    )
    .with_help(format!("put it into `env`, and use the variable: \"${{{}}}\"", variable(context)))
}

/// The expressions of a text that hold what strangers write, by their number in it.
fn untrusted(text: &str) -> Vec<(usize, String)> {
    let parts = segments(text).unwrap_or_default();
    let expressions = parts.iter().filter_map(|part| match part {
        Segment::Expression(inner, _) => Some(*inner),
        Segment::Literal(_) => None,
    });
    let mut found = Vec::new();
    for (number, inner) in expressions.enumerate() {
        let Ok(expression) = parse(inner) else { continue };
        let written_by_others = |pattern: &String| TEXTS.contains(&pattern.to_ascii_lowercase().as_str());
        let contexts = expression.dataflow_contexts();
        found.extend(
            contexts
                .iter()
                .filter_map(|(context, _)| context.as_pattern())
                .find(written_by_others)
                .map(|text| (number, text)),
        );
    }
    found
}

/// Where the n-th expression stands in the file.
fn written_at(text: &str, script: &Node, number: usize) -> Option<Range<usize>> {
    let parts = segments(&text[script.span.clone()]).ok()?;
    let mut ranges = parts.into_iter().filter_map(|part| match part {
        Segment::Expression(_, range) => Some(range),
        Segment::Literal(_) => None,
    });
    let range = ranges.nth(number)?;
    Some(script.span.start + range.start..script.span.start + range.end)
}

/// `github.event.issue.title` is ISSUE_TITLE.
fn variable(context: &str) -> String {
    let parts: Vec<&str> = context.split('.').filter(|part| *part != "*").collect();
    let from = parts.len().saturating_sub(if parts.get(1) == Some(&"event") { parts.len() - 2 } else { 1 });
    parts[from..].join("_").to_ascii_uppercase().replace('-', "_")
}

/// The expression into `env`, the variable into the script: where a POSIX shell reads it, and not in single quotes.
fn to_environment(
    reaching: &Reaching<'_>,
    step: &Node,
    script: &Node,
    number: usize,
    context: &str,
) -> Option<Fix> {
    let text = &reaching.workflow.text;
    let is_posix = |shell: &str| ["bash", "sh"].contains(&shell.split(' ').next().unwrap_or_default());
    let of_defaults = |node: &Node| node.get("defaults")?.get("run")?.get("shell")?.scalar_text();
    let shell = step.get("shell").and_then(Node::scalar_text);
    let shell =
        shell.or_else(|| of_defaults(reaching.job.body)).or_else(|| of_defaults(&reaching.workflow.root));
    let range = written_at(text, script, number)?;
    let before = &text[script.span.start..range.start];
    let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
    let quoted =
        line.matches('\'').count() % 2 == 1 || before.contains("<<'") || text[range.clone()].contains('\n');
    // The name of a variable that is there already may mean something else.
    let name = variable(context);
    let taken = step.get("env").is_some_and(|env| env.get(&name).is_some());
    if shell.is_some_and(|shell| !is_posix(&shell)) || quoted || taken {
        return None;
    }
    let expression = &text[range.clone()];
    let entry = format!("{name}: {expression}");
    let insert = match step.get("env") {
        Some(env) => edit::first_in(text, env, &[&entry])?,
        None => edit::after_key(text, step, "run", &["env:", &format!("  {entry}")])?,
    };
    let replace = Edit { range, text: format!("${{{name}}}") };
    Some(Fix { file: reaching.file, does: format!("hand it over as ${name}"), edits: vec![replace, insert] })
}

#[cfg(test)]
mod tests {
    use super::{TEXTS, untrusted, variable};

    #[test]
    fn what_strangers_write_is_found_however_it_is_spelled() {
        for text in [
            "echo ${{ github.event.issue.title }}",
            "echo ${{ github.event['issue'].Title }}",
            "echo ${{ format('{0}', github.event.commits[0].message) }}",
            "echo ${{ github.event.pull_request.title || 'none' }}",
            "echo ${{github.head_ref}}",
        ] {
            assert_eq!(untrusted(text).len(), 1, "{text}");
        }
        for text in [
            "echo $TITLE",
            "echo ${{ github.sha }}",
            "echo ${{ github.event.issue.number }}",
            "echo ${{ github.event.issue.title == 'x' }}",
            "echo ${{ contains(github.event.comment.body, 'x') }}",
        ] {
            assert_eq!(untrusted(text), [], "{text}");
        }
    }

    #[test]
    fn variables_are_called_after_what_they_hold() {
        assert_eq!(variable("github.event.issue.title"), "ISSUE_TITLE");
        assert_eq!(variable("github.event.commits.*.message"), "COMMITS_MESSAGE");
        assert_eq!(variable("github.head_ref"), "HEAD_REF");
        assert!(TEXTS.is_sorted());
    }
}
