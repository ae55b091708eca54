//! Workflow files by whoever wants lint to fall: whatever they hold, it answers, in time, and does not panic.

#![allow(clippy::format_collect, clippy::format_push_string, reason = "these texts are made once")]

use std::{collections::BTreeMap, fs, process::Command, time::Instant};

use proptest::{collection::vec, prelude::*, sample::Index};
use testbed::{layout::project, scene::program};
use vega_builder::workflow::{Known, NoActions, Set, Subject, check, reach, using};

/// Every workflow of the corpus.
fn corpus() -> Vec<String> {
    let folder = project().join("tests/reach");
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let table: toml::Table = text.parse().unwrap();
        for case in table["case"].as_array().unwrap() {
            texts.extend(case.get("workflow").and_then(|text| text.as_str()).map(str::to_owned));
            let files = case.get("files").and_then(|files| files.as_table()).into_iter().flatten();
            texts.extend(files.filter_map(|(_, text)| text.as_str().map(str::to_owned)));
            for key in ["if", "runs-on"] {
                let part = case.get(key).and_then(|text| text.as_str());
                texts.extend(part.map(|part| {
                    format!("on: pull_request\njobs:\n  build:\n    runs-on: vega\n    {key}: {part}\n")
                }));
            }
        }
    }
    assert!(texts.len() > 200);
    texts
}

/// Everything that lint does with a file, but to tell of it.
fn look(text: &str) {
    let mut set = Set::default();
    set.add(".github/workflows/ci.yml", text);
    set.add_remote("octo/tools/.github/workflows/x.yml@v1", text);
    let _ = set.missing();
    let known = Known::of_runner(&"self-hosted,vega".parse().unwrap(), "X64");
    let found = reach(&set, &known);
    for finding in check(&Subject { set: &set, known: &known, found: &found, actions: &NoActions }) {
        assert!(finding.line(&set).is_some());
        if let Some(fix) = &finding.fix {
            let edits: Vec<_> = fix.edits.iter().collect();
            let _ = vega_builder::workflow::apply(set.source(fix.file).1, &edits);
        }
    }
    for (_, unread) in set.unread() {
        assert!(
            text.is_char_boundary(unread.fault.span.start) && text.is_char_boundary(unread.fault.span.end)
        );
    }
    let _ = using(text);
}

/// Cut, copied, moved and changed pieces of valid files.
fn mutated() -> impl Strategy<Value = String> {
    let texts = corpus();
    let other = any::<Index>();
    let pieces = vec((any::<Index>(), any::<Index>(), any::<Index>(), 0..6u8, "\\PC{0,6}"), 1..6);
    (any::<Index>(), other, pieces).prop_map(move |(one, other, pieces)| {
        let (mut text, other): (Vec<char>, Vec<char>) =
            (one.get(&texts).chars().collect(), other.get(&texts).chars().collect());
        for (from, to, at, what, inserted) in pieces {
            let (length, at) = (text.len().max(1), at.index(text.len() + 1));
            let (from, to) = (from.index(length).min(text.len()), to.index(length).min(text.len()));
            let range = from.min(to)..from.max(to);
            match what {
                0 => drop(text.drain(range)),
                1 => drop(text.splice(at..at, text.clone()[range].to_vec())),
                2 => drop(text.splice(at..at, inserted.chars())),
                3 => drop(text.splice(at..at, other[..from.min(other.len())].to_vec())),
                4 => drop(text.splice(at..at, "${{ ".chars())),
                _ => drop(text.splice(
                    at..at,
                    ["\t", "&a ", "*a", "{", "[", "|\n", "'", "\"", "é\u{301}"][from % 9].chars(),
                )),
            }
        }
        text.into_iter().collect()
    })
}

#[test]
fn no_mutated_workflow_makes_lint_panic() {
    let config = ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in mutated())| look(&text));
}

#[test]
fn no_text_at_random_makes_lint_panic() {
    let config = ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in "[\\PC\n\t]{0,200}")| look(&text));
}

#[test]
fn no_workflow_that_grows_makes_lint_grow() {
    let job = |runs_on: &str| format!("on: pull_request\njobs:\n  build:\n    runs-on: {runs_on}\n");
    let expression = |text: &str| job(&format!("\"${{{{ {text} }}}}\""));
    let many = |text: &str, times: usize| text.repeat(times);
    let aliases = {
        let mut text = "on: push\njobs: {build: {runs-on: x}}\na0: &a0 [x, x]\n".to_owned();
        for n in 1..40 {
            text += &format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1);
        }
        text
    };
    let matrix = {
        let vectors: Vec<String> = (0..30).map(|n| format!("v{n}: [1, 2, 3, 4, 5, 6, 7, 8]")).collect();
        format!(
            "on: pull_request\njobs: {{build: {{strategy: {{matrix: {{{}}}}}, runs-on: '${{{{ matrix.v0 }}}}'}}}}\n",
            vectors.join(", ")
        )
    };
    let includes = {
        let item = "{a: '${{ vars.X }}', b: 1}, ";
        format!(
            "on: pull_request\njobs: {{build: {{strategy: {{matrix: {{a: [1, 2, 3], include: [{}]}}}}, runs-on: vega}}}}\n",
            many(item, 500)
        )
    };
    let choices = expression(&format!(
        "format('{}'{})",
        (0..40).map(|n| format!("{{{n}}}")).collect::<String>(),
        many(", (vars.A && 'a' || 'b')", 40)
    ));
    let calls = {
        let call = |n: usize| format!("  c{n}: {{uses: ./.github/workflows/ci.yml}}\n");
        format!("on: [pull_request, workflow_call]\njobs:\n{}", (0..200).map(call).collect::<String>())
    };
    let texts: BTreeMap<&str, String> = BTreeMap::from([
        ("deep brackets", job(&many("[", 20_000))),
        ("deep braces", job(&many("{a: ", 20_000))),
        ("deep parentheses", expression(&format!("{}1{}", many("(", 50_000), many(")", 50_000)))),
        ("deep negations", expression(&format!("{}1", many("!", 100_000)))),
        ("deep calls", expression(&format!("{}1{}", many("format(", 20_000), many(")", 20_000)))),
        ("deep indices", expression(&format!("a{}", many("[0]", 100_000)))),
        ("long choices", expression(&format!("{}'vega'", many("vars.A || ", 50_000)))),
        ("longest choices", expression(&format!("{}1", many("1||", 6_900)))),
        (
            "longest choices in a script",
            format!(
                "on: push\njobs: {{build: {{runs-on: vega, if: '{0}', steps: [{{run: \"${{{{ {0} }}}}\"}}]}}}}\n",
                format!("{}1", many("1||", 6_900))
            ),
        ),
        ("longest comparisons", expression(&format!("{}1", many("1==", 6_900)))),
        ("longest mixture", expression(&format!("{}1", many("1||1&&", 3_400)))),
        ("long fields", expression(&format!("vars{}", many(".a", 200_000)))),
        (
            "long needs",
            format!(
                "on: pull_request\njobs:\n{}",
                (0..2000)
                    .map(|n| format!("  j{n}: {{needs: [j{}], runs-on: vega}}\n", (n + 1) % 2000))
                    .collect::<String>()
            ),
        ),
        ("many choices", choices),
        ("many combinations", matrix),
        ("many includes", includes),
        ("many aliases", aliases),
        ("many calls of itself", calls),
        (
            "many events",
            format!("on: [{}]\njobs: {{build: {{runs-on: vega}}}}\n", many("pull_request, ", 5000)),
        ),
        (
            "many jobs",
            format!(
                "on: [push, pull_request, issue_comment]\njobs:\n{}",
                (0..5000).map(|n| format!("  j{n}: {{runs-on: vega}}\n")).collect::<String>()
            ),
        ),
        ("more than a megabyte", job(&format!("vega # {}", many("x", 1 << 20)))),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ci.yml");
    for (name, text) in texts {
        look(&text);
        // How long it takes is what the program takes that is shipped: the crate in this test is not optimised.
        fs::write(&file, &text).unwrap();
        let started = Instant::now();
        let output = Command::new(program()).arg("lint").arg(&file).output().unwrap();
        let seconds = started.elapsed().as_secs_f64();
        println!("{name}: {seconds:.2} s, {}", output.status);
        assert!(seconds < 10.0, "{name} took {seconds:.1} s");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0..=2)), "{name}: {}: {said}", output.status);
    }
}
