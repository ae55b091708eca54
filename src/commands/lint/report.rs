use std::process::ExitCode;

use super::{Never, ignore::Ignores};
use crate::{
    value::RepositorySettings,
    workflow::{Certainty, Fault, FileId, Finding, Found, Hand, Known, Set, Severity, check_settings},
};

/// One set of workflows, and what was found in it.
#[derive(Debug, Default)]
pub struct Checked {
    /// The branches that have it, when it came from GitHub.
    pub branches: Vec<String>,
    pub set: Set,
    pub found: Found,
    pub findings: Vec<Finding>,
}

/// Everything that is to be told.
#[derive(Debug)]
pub struct Report {
    pub labels: String,
    /// What GitHub said of the repository.
    pub settings: Option<RepositorySettings>,
    pub checked: Vec<Checked>,
    /// Findings that somebody has a reason to leave, and the reason.
    pub ignored: Vec<(usize, Finding, String)>,
    /// Ignores that meet nothing any more.
    pub idle_ignores: Vec<String>,
}

/// A job that comes here.
#[derive(Debug, serde::Serialize)]
pub struct Landing {
    pub file: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    pub line: usize,
    pub job: String,
    pub certainty: Certainty,
    pub runs_on: Vec<String>,
    /// The strongest hand that can start it.
    pub by: Hand,
    pub events: Vec<String>,
}

impl Report {
    pub fn new(known: &Known, checked: Vec<Checked>) -> Self {
        let labels = known.labels.to_string();
        let settings = known.settings.clone();
        Self { labels, settings, checked, ignored: Vec::new(), idle_ignores: Vec::new() }
    }

    /// What the repository's settings let in, told once and before everything else.
    pub fn with_settings(mut self, known: &Known) -> Self {
        let findings = check_settings(known);
        if self.checked.is_empty() && !findings.is_empty() {
            self.checked.push(Checked::default());
        }
        if let Some(first) = self.checked.first_mut() {
            first.findings.splice(..0, findings);
        }
        self
    }

    /// Leave out everything but errors.
    pub fn keep_errors(&mut self) {
        for checked in &mut self.checked {
            checked.findings.retain(|finding| finding.severity == Severity::Error);
        }
    }

    /// Every finding, and every file that cannot be read, as one sentence with its place.
    pub fn reasons(&self) -> Vec<String> {
        let unread = self.faults().map(|(checked, file, fault)| {
            let (path, _) = checked.set.source(file);
            let (line, _) = checked.set.line_and_column(file, fault.span.start);
            format!(
                "{}:{line} cannot be read ({fault}), and what it lets in is not known",
                checked.name(path)
            )
        });
        let findings = self.findings().map(|(checked, finding)| match finding.line(&checked.set) {
            Some((line, _)) => {
                format!("{}:{line}: {}", checked.name(finding.path(&checked.set)), finding.title)
            }
            None => finding.title.clone(),
        });
        unread.chain(findings).collect()
    }

    /// Leave out what is about other files.
    pub fn keep_to(&mut self, only: Option<&str>) {
        let Some(only) = only else { return };
        for checked in &mut self.checked {
            let Checked { set, found, findings, .. } = checked;
            findings.retain(|finding| finding.path(set) == only);
            found.reaches.retain(|reach| set.source(reach.place.file).0 == only);
            found.faults.retain(|(file, _)| set.source(*file).0 == only);
        }
    }

    pub fn ignore(&mut self, ignores: &Ignores) {
        let mut met = vec![false; ignores.len()];
        for (at, checked) in self.checked.iter_mut().enumerate() {
            for finding in std::mem::take(&mut checked.findings) {
                match ignores.of(&finding, &checked.set) {
                    Some((number, reason)) => {
                        met[number] = true;
                        self.ignored.push((at, finding, reason.to_owned()));
                    }
                    None => checked.findings.push(finding),
                }
            }
        }
        self.idle_ignores = ignores.idle(&met);
    }

    pub fn findings(&self) -> impl Iterator<Item = (&Checked, &Finding)> {
        self.checked.iter().flat_map(|checked| checked.findings.iter().map(move |finding| (checked, finding)))
    }

    /// Files that could not be read, or that GitHub would not run.
    pub fn faults(&self) -> impl Iterator<Item = (&Checked, FileId, &Fault)> {
        self.checked.iter().flat_map(|checked| {
            let unread = checked.set.unread().map(move |(file, unread)| (checked, file, &unread.fault));
            unread.chain(checked.found.faults.iter().map(move |(file, fault)| (checked, *file, fault)))
        })
    }

    pub fn landings(&self) -> Vec<Landing> {
        let mut all: Vec<Landing> = self.checked.iter().flat_map(Checked::landings).collect();
        all.sort_by(|one, two| {
            (&one.branches, &one.file, one.line).cmp(&(&two.branches, &two.file, two.line))
        });
        all
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.findings().filter(|(_, finding)| finding.severity == severity).count()
    }

    /// 2 when something was not read: what it holds may be the worst. 1 for an error.
    pub fn exit_code(&self, strict: bool) -> ExitCode {
        let bad = |finding: &Finding| strict || finding.severity == Severity::Error;
        if self.faults().next().is_some() {
            ExitCode::from(super::UNREAD)
        } else if self.findings().any(|(_, finding)| bad(finding)) {
            ExitCode::from(1)
        } else {
            ExitCode::SUCCESS
        }
    }
}

impl Checked {
    /// What a file is called for people: with its branch, as git writes it.
    pub fn name(&self, path: &str) -> String {
        match self.branches.as_slice() {
            [] => path.to_owned(),
            [branch] => format!("{branch}:{path}"),
            [branch, others @ ..] => format!("{branch} (and {} more):{path}", others.len()),
        }
    }

    /// The jobs that ask for a runner like this one, and miss it.
    pub fn never(&self) -> impl Iterator<Item = Never> {
        self.found.misses.iter().map(|miss| {
            let (file, _) = self.set.source(miss.key.file);
            let (line, _) = self.set.line_and_column(miss.key.file, miss.key.start);
            Never {
                place: format!("{file}:{line}"),
                job: miss.job.clone(),
                why: format!(
                    "it asks for {}, and this runner has not {}",
                    miss.asked,
                    miss.lacks.join(", nor ")
                ),
            }
        })
    }

    fn landings(&self) -> impl Iterator<Item = Landing> {
        self.found.reaches.iter().map(|reach| {
            let (file, _) = self.set.source(reach.place.file);
            let mut events: Vec<String> = reach.starts.iter().map(|start| start.event.clone()).collect();
            events.sort_unstable();
            events.dedup();
            Landing {
                file: file.to_owned(),
                branches: self.branches.clone(),
                line: self.set.line_and_column(reach.key.file, reach.key.start).0,
                job: reach.job.clone(),
                certainty: reach.certainty,
                runs_on: reach.unfollowed.clone().map_or_else(|| reach.asked.clone(), |why| vec![why]),
                by: reach.starts.iter().map(|start| start.hand).max().unwrap_or(Hand::Stranger),
                events,
            }
        })
    }
}
