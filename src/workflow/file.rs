//! A workflow file: its triggers and its jobs, each with its place.
//!
//! Read straight from the nodes. The field's crate of models (`github-actions-models`) keeps no places, leaves out what
//! decides here (defaults of inputs, the strategy of a called workflow), and refuses a whole file for one key that it
//! does not know, after which nobody could say what the file's other jobs reach.

use std::{ops::Range, path::Path};

use super::{
    event,
    yaml::{self, Fault, Node, Yaml},
};

/// Where GitHub looks for workflows.
pub const FOLDER: &str = ".github/workflows";

/// Whether a file of that folder is one, by its name.
pub fn is_workflow_file(path: &str) -> bool {
    let extension = Path::new(path).extension().unwrap_or_default();
    extension.eq_ignore_ascii_case("yml") || extension.eq_ignore_ascii_case("yaml")
}

/// A workflow file that was read.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// From the repository's root, e.g. `.github/workflows/ci.yml`.
    pub path: String,
    pub text: String,
    pub root: Node,
}

/// One event under `on`.
#[derive(Debug, Clone)]
pub struct Trigger<'file> {
    pub event: String,
    pub span: Range<usize>,
    /// `types`, when it names any.
    pub types: Vec<String>,
    pub filter: Option<&'file Node>,
}

/// One job; `body` has its keys.
#[derive(Debug, Clone, Copy)]
pub struct Job<'file> {
    pub number: usize,
    pub id: &'file str,
    pub key: &'file Range<usize>,
    pub body: &'file Node,
}

impl Workflow {
    /// Read a file, as strictly as GitHub where the answer would be another otherwise.
    pub fn read(path: &str, text: &str) -> Result<Self, Fault> {
        let root = yaml::read(text)?;
        let Yaml::Mapping(_) = &root.value else {
            return Err(Fault::new(root.span, "a workflow is a mapping with the keys `on` and `jobs`"));
        };
        let (path, text) = (path.to_owned(), text.to_owned());
        let workflow = Self { path, text, root };
        workflow.check()?;
        Ok(workflow)
    }

    fn check(&self) -> Result<(), Fault> {
        let start = self.root.span.start;
        let missing = |key| {
            Fault::new(start..start, format!("the key `{key}` is missing: GitHub runs nothing of this file"))
        };
        let on = self.root.get("on").ok_or_else(|| missing("on"))?;
        for name in words(on)? {
            if name.1.is_empty() {
                return Err(Fault::new(name.0, "an event has no name"));
            }
        }
        let jobs = self.root.get("jobs").ok_or_else(|| missing("jobs"))?;
        let Yaml::Mapping(pairs) = &jobs.value else {
            return Err(Fault::new(jobs.span.clone(), "`jobs` is a mapping of jobs by their names"));
        };
        for (key, body) in pairs {
            let is_job = body.get("runs-on").is_some() || body.get("uses").is_some();
            if !is_job {
                let why = format!("the job '{}' has neither `runs-on` nor `uses`", key.name);
                return Err(Fault::new(key.span.clone(), why));
            }
        }
        Ok(())
    }

    /// By what name other workflows wait for this one.
    pub fn name(&self) -> &str {
        self.root.get("name").and_then(Node::text).unwrap_or(&self.path)
    }

    pub fn triggers(&self) -> Vec<Trigger<'_>> {
        let Some(on) = self.root.get("on") else { return Vec::new() };
        let Ok(words) = words(on) else { return Vec::new() };
        let trigger = |(span, event): (Range<usize>, String)| {
            let filter = on.get(&event);
            let types = filter.and_then(|filter| filter.get("types")).map(texts).unwrap_or_default();
            Trigger { event, span, types, filter }
        };
        words.into_iter().map(trigger).collect()
    }

    /// The trigger of a workflow that others call.
    pub fn call(&self) -> Option<Trigger<'_>> {
        self.triggers().into_iter().find(|trigger| trigger.event == event::CALL)
    }

    pub fn jobs(&self) -> Vec<Job<'_>> {
        (0..).map_while(|number| self.job(number)).collect()
    }

    /// The job of this number.
    pub fn job(&self, number: usize) -> Option<Job<'_>> {
        let (key, body) = self.root.get("jobs")?.pairs().get(number)?;
        Some(Job { number, id: &key.name, key: &key.span, body })
    }
}

impl Job<'_> {
    /// The jobs that must have ended before this one begins.
    pub fn needs(&self) -> Vec<String> {
        self.body.get("needs").map(texts).unwrap_or_default()
    }

    pub fn steps(&self) -> &[Node] {
        self.body.get("steps").map(Node::items).unwrap_or_default()
    }
}

/// One word or a list of them.
pub fn texts(node: &Node) -> Vec<String> {
    match &node.value {
        Yaml::Sequence(items) => items.iter().filter_map(Node::scalar_text).collect(),
        _ => node.scalar_text().into_iter().filter(|text| !text.is_empty()).collect(),
    }
}

/// The names of the events: one word, a list of words, or a mapping's keys.
fn words(on: &Node) -> Result<Vec<(Range<usize>, String)>, Fault> {
    let wrong = |node: &Node| {
        Fault::new(node.span.clone(), "`on` is an event, a list of events, or a mapping of events")
    };
    match &on.value {
        Yaml::Text(event) => Ok(vec![(on.span.clone(), event.clone())]),
        Yaml::Sequence(items) => items
            .iter()
            .map(|item| Ok((item.span.clone(), item.text().ok_or_else(|| wrong(item))?.to_owned())))
            .collect(),
        Yaml::Mapping(pairs) => {
            Ok(pairs.iter().map(|(key, _)| (key.span.clone(), key.name.clone())).collect())
        }
        _ => Err(wrong(on)),
    }
}
