//! Which jobs an event queues, when everything about it is known: the part of GitHub that reads workflows.
//!
//! It shares nothing with the product's reading but the parser of expressions, whose own constant evaluation decides
//! here; YAML is another reader's. The product's lint is held to it: what lint calls unreachable is never scheduled.

mod concrete;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

use concrete::{resolve, truth};

/// A job that waits for a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The path of the file that has it.
    pub file: String,
    pub job: String,
    pub labels: Vec<String>,
    pub group: Option<String>,
}

/// An event and everything that its jobs may ask about.
#[derive(Debug, Clone)]
pub struct Happening {
    pub event: String,
    /// The context `github`, all of it.
    pub github: Value,
    pub vars: Value,
    /// What a person chose, for `workflow_dispatch`.
    pub inputs: Value,
    /// What steps put out, for jobs' outputs.
    pub steps: Value,
}

/// The jobs that GitHub queues for an event, of workflows by their paths. A workflow that it would refuse queues none.
pub fn schedule(files: &BTreeMap<String, String>, happening: &Happening) -> Vec<Queued> {
    let mut queued = Vec::new();
    for (path, text) in files {
        let Ok(root) = serde_yaml_ng::from_str::<Yaml>(text) else { continue };
        if listens(&root, &happening.event) {
            let inputs =
                if happening.event == "workflow_dispatch" { happening.inputs.clone() } else { json!({}) };
            queued.extend(Run { files, happening }.workflow(path, &root, &inputs, 0));
        }
    }
    queued
}

fn listens(root: &Yaml, event: &str) -> bool {
    match &root["on"] {
        Yaml::String(one) => one == event,
        Yaml::Sequence(all) => all.iter().any(|one| one == event),
        Yaml::Mapping(all) => all.contains_key(event),
        _ => false,
    }
}

struct Run<'a> {
    files: &'a BTreeMap<String, String>,
    happening: &'a Happening,
}

impl Run<'_> {
    fn workflow(&self, path: &str, root: &Yaml, inputs: &Value, depth: usize) -> Vec<Queued> {
        let mut contexts = Map::new();
        contexts.insert("github".to_owned(), self.happening.github.clone());
        contexts.insert("vars".to_owned(), self.happening.vars.clone());
        contexts.insert("inputs".to_owned(), inputs.clone());
        let Some(jobs) = root["jobs"].as_mapping() else { return Vec::new() };
        let mut ran: BTreeMap<String, bool> = BTreeMap::new();
        let mut queued = Vec::new();
        // A job stands behind those that it needs.
        for (id, body) in jobs {
            let id = id.as_str().unwrap_or_default();
            let needs = words(&body["needs"]);
            contexts.insert("needs".to_owned(), needs_context(&needs, jobs, &ran, &contexts, self.happening));
            let needs_ran = needs.iter().all(|need| ran.get(need) == Some(&true));
            // One whose expressions fail does not run.
            let jobs = self.job(path, id, body, needs_ran, &contexts, depth);
            ran.insert(id.to_owned(), jobs.is_some());
            queued.extend(jobs.unwrap_or_default());
        }
        queued
    }

    /// The jobs that one makes; none when it is skipped, or fails.
    fn job(
        &self,
        path: &str,
        id: &str,
        body: &Yaml,
        needs_ran: bool,
        contexts: &Map<String, Value>,
        depth: usize,
    ) -> Option<Vec<Queued>> {
        let (condition, asks_for_status) = match &body["if"] {
            Yaml::Null => (true, false),
            node => truth(node, contexts, needs_ran)?,
        };
        if !condition || !(asks_for_status || needs_ran) {
            return None;
        }
        let mut queued = Vec::new();
        for matrix in combinations(&body["strategy"]["matrix"], contexts)? {
            let mut contexts = contexts.clone();
            contexts.insert("matrix".to_owned(), matrix);
            if let Some(uses) = body["uses"].as_str() {
                let called = uses.strip_prefix("./")?;
                let root = serde_yaml_ng::from_str::<Yaml>(self.files.get(called)?).ok()?;
                let inputs = call_inputs(&root, &body["with"], &contexts)?;
                if depth < 9 {
                    queued.extend(self.workflow(called, &root, &inputs, depth + 1));
                }
            } else if let Some(asked) = resolve(&body["runs-on"], &contexts) {
                queued.extend(job(path, id, &asked));
            }
        }
        Some(queued)
    }
}

fn job(path: &str, id: &str, runs_on: &Value) -> Option<Queued> {
    let texts = |value: &Value| match value {
        Value::Array(items) => items.iter().map(concrete::text).collect::<Option<Vec<String>>>(),
        one => Some(vec![concrete::text(one)?]),
    };
    let (labels, group) = match runs_on {
        Value::Object(asked) => {
            let labels = asked.get("labels").map_or(Some(Vec::new()), texts)?;
            (labels, asked.get("group").and_then(Value::as_str).map(str::to_owned))
        }
        other => (texts(other)?, None),
    };
    let empty = labels.iter().any(String::is_empty) || labels.is_empty() && group.is_none();
    (!empty).then(|| Queued { file: path.to_owned(), job: id.to_owned(), labels, group })
}

fn words(node: &Yaml) -> Vec<String> {
    match node {
        Yaml::String(one) => vec![one.clone()],
        Yaml::Sequence(all) => all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn needs_context(
    needs: &[String],
    jobs: &serde_yaml_ng::Mapping,
    ran: &BTreeMap<String, bool>,
    contexts: &Map<String, Value>,
    happening: &Happening,
) -> Value {
    let mut all = Map::new();
    for need in needs {
        let ran = ran.get(need) == Some(&true);
        let mut inside = contexts.clone();
        inside.insert("steps".to_owned(), happening.steps.clone());
        let declared = jobs.get(need.as_str()).and_then(|job| job["outputs"].as_mapping());
        let outputs: Map<String, Value> = declared
            .into_iter()
            .flatten()
            .filter(|_| ran)
            .filter_map(|(name, node)| {
                let text = concrete::text(&resolve(node, &inside)?)?;
                Some((name.as_str()?.to_owned(), Value::String(text)))
            })
            .collect();
        all.insert(
            need.clone(),
            json!({ "result": if ran { "success" } else { "skipped" }, "outputs": outputs }),
        );
    }
    Value::Object(all)
}

fn call_inputs(called: &Yaml, with: &Yaml, contexts: &Map<String, Value>) -> Option<Value> {
    let mut inputs = Map::new();
    let Some(declared) = called["on"]["workflow_call"]["inputs"].as_mapping() else { return Some(json!({})) };
    for (name, definition) in declared {
        let name = name.as_str()?;
        let value = match (&with[name], &definition["default"]) {
            (Yaml::Null, Yaml::Null) => match definition["type"].as_str() {
                Some("boolean") => json!(false),
                _ => json!(""),
            },
            (Yaml::Null, default) => resolve(default, contexts)?,
            (given, _) => resolve(given, contexts)?,
        };
        let is_text = definition["type"].as_str() == Some("string");
        inputs.insert(name.to_owned(), if is_text { Value::String(concrete::text(&value)?) } else { value });
    }
    Some(Value::Object(inputs))
}

/// Every combination of a matrix, with what is left out and what is added.
fn combinations(matrix: &Yaml, contexts: &Map<String, Value>) -> Option<Vec<Value>> {
    if matrix.is_null() {
        return Some(vec![Value::Null]);
    }
    let Value::Object(matrix) = resolve(matrix, contexts)? else { return None };
    let list = |name: &str| matrix.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (include, exclude) = (list("include"), list("exclude"));
    let vectors: Vec<(&String, &Vec<Value>)> = matrix
        .iter()
        .filter(|(name, _)| !["include", "exclude"].contains(&name.as_str()))
        .map(|(name, values)| Some((name, values.as_array()?)))
        .collect::<Option<_>>()?;
    let mut jobs: Vec<Map<String, Value>> = if vectors.is_empty() { vec![] } else { vec![Map::new()] };
    for (name, values) in &vectors {
        let mut next = Vec::new();
        for job in &jobs {
            for value in *values {
                let mut job = job.clone();
                job.insert((*name).clone(), value.clone());
                next.push(job);
            }
        }
        jobs = next;
    }
    let is_vector = |name: &String| vectors.iter().any(|(known, _)| *known == name);
    let fits = |filter: &Value, job: &Map<String, Value>| {
        let fields = filter.as_object().into_iter().flatten().filter(|(name, _)| is_vector(name));
        fields
            .into_iter()
            .all(|(name, wanted)| job.get(name).is_some_and(|there| concrete::equal(wanted, there)))
    };
    jobs.retain(|job| !exclude.iter().any(|filter| fits(filter, job)));
    let mut added = Vec::new();
    for item in &include {
        let mut matched = false;
        for job in &mut jobs {
            if fits(item, job) {
                matched = true;
                let more = item.as_object().into_iter().flatten().filter(|(name, _)| !is_vector(name));
                job.extend(more.map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        if !matched {
            added.push(item.clone());
        }
    }
    Some(jobs.into_iter().map(Value::Object).chain(added).collect())
}
