//! The corpus: who can reach a runner through which workflow, as a table in `tests/reach/*.toml`.
//!
//! A case is a workflow (written out, or by its `on`, `runs-on` and `if`), the runner's labels, and what is expected
//! of each job that can land on it: the strongest hand that can start it, and `maybe` where that cannot be excluded.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use vega_builder::workflow::{Certainty, FileId, Hand, Known, Set, Variables, reach};

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Case {
    name: String,
    on: Option<String>,
    runs_on: Option<String>,
    r#if: Option<String>,
    workflow: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    remote: BTreeMap<String, String>,
    labels: Option<String>,
    group: Option<String>,
    repository: Option<String>,
    variables: Option<BTreeMap<String, String>>,
    /// The job `build` of the one file.
    reach: Option<String>,
    #[serde(default)]
    reached: BTreeMap<String, String>,
}

impl Case {
    fn files(&self) -> BTreeMap<String, String> {
        if !self.files.is_empty() {
            return self.files.clone();
        }
        let text = self.workflow.clone().unwrap_or_else(|| {
            let on = self.on.as_deref().unwrap_or("pull_request");
            let runs_on = self.runs_on.as_deref().unwrap_or("vega");
            let condition = self.r#if.as_deref().map(|text| format!("    if: {text}\n")).unwrap_or_default();
            format!("on: {on}\njobs:\n  build:\n    runs-on: {runs_on}\n{condition}")
        });
        BTreeMap::from([("ci.yml".to_owned(), text)])
    }

    fn expected(&self) -> BTreeMap<String, String> {
        let mut expected = self.reached.clone();
        expected.extend(self.reach.clone().map(|reach| ("ci.yml build".to_owned(), reach)));
        expected
    }

    fn found(&self) -> BTreeMap<String, String> {
        let labels = self.labels.as_deref().unwrap_or("self-hosted,vega").parse().unwrap();
        let mut known = Known::of_runner(&labels, "X64");
        known.group = self.group.clone().unwrap_or(known.group);
        known.repository.clone_from(&self.repository);
        if let Some(variables) = &self.variables {
            known.variables = Variables { values: variables.clone().into_iter().collect(), complete: true };
        }
        let mut set = Set::default();
        for (name, text) in self.files() {
            set.add(&format!(".github/workflows/{name}"), &text);
        }
        for (reference, text) in &self.remote {
            set.add_remote(reference, text);
        }
        let found = reach(&set, &known);
        let name = |file: FileId| set.source(file).0.trim_start_matches(".github/workflows/").to_owned();
        let unread = set.unread().map(|(file, unread)| (file, &unread.fault));
        let faults = found.faults.iter().map(|(file, fault)| (*file, fault));
        let mut all: BTreeMap<String, String> = unread
            .chain(faults)
            .map(|(file, fault)| {
                let before = &set.source(file).1[..fault.span.start];
                let (line, column) = (
                    before.matches('\n').count() + 1,
                    before.len() - before.rfind('\n').map_or(0, |n| n + 1),
                );
                (name(file), format!("unread {line}:{}: {fault}", column + 1))
            })
            .collect();
        for reach in found.reaches {
            let hand = reach.starts.iter().map(|start| start.hand).max().unwrap();
            let sure = reach.by(hand).any(|start| start.certainty == Certainty::Reaches);
            let hand = match hand {
                Hand::Clock => "clock",
                Hand::Writer => "writer",
                Hand::Stranger => "stranger",
            };
            let text = if sure { hand.to_owned() } else { format!("maybe {hand}") };
            all.insert(format!("{} {}", name(reach.place.file), reach.job), text);
        }
        all
    }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reach");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        toml::from_str::<Table>(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display())).case
    };
    files.into_iter().flat_map(read).collect()
}

#[test]
fn every_workflow_of_the_corpus_is_reached_by_those_who_can_reach_it() {
    let cases = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        let (expected, found) = (case.expected(), case.found());
        if expected != found {
            wrong.push(format!("{}\n  expected {expected:?}\n  found    {found:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let strangers = cases.iter().filter(|case| case.expected().values().any(|who| who.ends_with("stranger")));
    assert!(cases.len() >= 150 && strangers.count() >= 60);
}
