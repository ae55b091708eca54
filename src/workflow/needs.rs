//! What jobs wait for: a job that is skipped takes those with it that need it, and its outputs are theirs.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    expression::{Object, Value, resolve},
    file::Job,
    reach::never,
    yaml::Fault,
};

/// The jobs of a file, by their names.
pub type Jobs<'file> = BTreeMap<&'file str, Job<'file>>;

/// The jobs that are certain not to run: by their `if`, or because one that they need does not.
pub fn skipped<'file>(jobs: &Jobs<'file>, contexts: &mut Object) -> Result<BTreeSet<&'file str>, Fault> {
    let mut skipped: BTreeSet<&str> = BTreeSet::new();
    let mut waits = Vec::new();
    for job in jobs.values() {
        contexts.set("needs", context(job, jobs, contexts));
        let (never, asks_for_status) = never(job, contexts)?;
        if never {
            skipped.insert(job.id);
        } else if !asks_for_status {
            waits.push((job.id, job.needs()));
        }
    }
    loop {
        let before = skipped.len();
        for (id, needs) in &waits {
            if needs.iter().any(|need| skipped.contains(need.as_str())) {
                skipped.insert(id);
            }
        }
        if skipped.len() == before {
            return Ok(skipped);
        }
    }
}

/// The context `needs` of a job.
pub fn context(job: &Job<'_>, jobs: &Jobs<'_>, contexts: &Object) -> Value {
    let mut needs = Object::default();
    for need in job.needs() {
        let needed = jobs.get(need.as_str());
        let result = Value::one_of(["success", "failure", "cancelled", "skipped"].map(Value::text));
        let fields = vec![
            ("result", result),
            ("outputs", needed.map_or(Value::Unknown, |job| outputs(job, contexts))),
        ];
        needs.set(&need, Value::Object(Object::new(fields, false)));
    }
    Value::Object(needs)
}

/// A job's outputs: text, as far as it does not come from its steps; nothing, if it did not run.
fn outputs(job: &Job<'_>, contexts: &Object) -> Value {
    let Some(node) = job.body.get("outputs").filter(|_| job.body.get("uses").is_none()) else {
        // A called workflow's outputs are its own affair.
        return if job.body.get("uses").is_some() {
            Value::Unknown
        } else {
            Value::Object(Object::default())
        };
    };
    let mut inside = contexts.clone();
    for unknown in ["needs", "matrix", "strategy", "steps"] {
        inside.set(unknown, Value::Unknown);
    }
    match resolve(node, &inside) {
        Ok(Value::Object(mut outputs)) => {
            for (_, value) in &mut outputs.fields {
                let texts =
                    value.clone().alternatives().into_iter().map(|value| Value::Text(value.as_pattern()));
                *value = Value::one_of(texts.chain([Value::Null]));
            }
            Value::Object(outputs)
        }
        _ => Value::Unknown,
    }
}
