use std::ops::Range;

use super::{
    reach::Place,
    set::{FileId, Set},
};

/// How much it matters. An error is that a stranger can reach the runner, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Warning,
    Error,
}

/// What a rule looks for, for `lint --explain` and `docs/lint.md`.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, as findings, ignores and SARIF have it.
    pub id: &'static str,
    /// What is wrong, in one line.
    pub summary: &'static str,
    /// Why it matters on a machine of one's own.
    pub why: &'static str,
    /// A workflow, or a setting, that has it.
    pub example: &'static str,
    /// The same without it.
    pub remedy: &'static str,
    pub severity: Severity,
}

/// Where a finding is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    File(Place),
    /// A setting of the repository, at this address.
    Setting(String),
}

#[derive(Debug, Clone)]
pub struct Finding {
    pub rule: &'static Rule,
    pub severity: Severity,
    pub location: Location,
    /// What happens here, as a sentence.
    pub title: String,
    /// What is at the place itself.
    pub label: String,
    /// Other places that belong to it.
    pub related: Vec<(Place, String)>,
    /// What to know, or what to do.
    pub help: Vec<String>,
    pub fix: Option<Fix>,
}

/// A change that needs no thought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    pub file: FileId,
    /// What it does, as an order.
    pub does: String,
    pub edits: Vec<Edit>,
}

/// Put `text` in the place of a range of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub range: Range<usize>,
    pub text: String,
}

impl Finding {
    pub fn new(rule: &'static Rule, place: Place, title: String, label: impl Into<String>) -> Self {
        Self {
            rule,
            severity: rule.severity,
            location: Location::File(place),
            title,
            label: label.into(),
            related: Vec::new(),
            help: Vec::new(),
            fix: None,
        }
    }

    /// One of the repository's settings.
    pub fn of_setting(rule: &'static Rule, address: String, title: String, help: Vec<String>) -> Self {
        Self {
            rule,
            severity: rule.severity,
            location: Location::Setting(address),
            title,
            label: String::new(),
            related: Vec::new(),
            help,
            fix: None,
        }
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    #[must_use]
    pub fn with_related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }

    #[must_use]
    pub fn with_fix(mut self, fix: Option<Fix>) -> Self {
        self.fix = fix;
        self
    }

    /// The path of the file, or the address of the setting.
    pub fn path<'a>(&'a self, set: &'a Set) -> &'a str {
        match &self.location {
            Location::File(place) => set.source(place.file).0,
            Location::Setting(address) => address,
        }
    }

    /// Line and column, both from 1; columns count characters.
    pub fn line(&self, set: &Set) -> Option<(usize, usize)> {
        match &self.location {
            Location::File(place) => Some(set.line_and_column(place.file, place.start)),
            Location::Setting(_) => None,
        }
    }
}
