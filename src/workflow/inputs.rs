//! The context `inputs`: what a person chose, or what a caller gave.

use super::{
    expression::{Object, Value, resolve},
    file::{Trigger, texts},
    yaml::{Fault, Node, Yaml},
};

/// Of a workflow that GitHub starts: only `workflow_dispatch` asks for any.
pub fn of_event(trigger: &Trigger<'_>) -> Value {
    let mut inputs = Object::default();
    if trigger.event == "workflow_dispatch" {
        for (key, definition) in declared(Some(trigger)) {
            inputs.set(key, chosen(definition));
        }
    }
    Value::Object(inputs)
}

/// What a person can choose.
fn chosen(definition: &Node) -> Value {
    match definition.get("type").and_then(Node::text) {
        Some("boolean") => Value::either(),
        Some("choice") => {
            let options = definition.get("options").map(texts).unwrap_or_default();
            Value::one_of(options.into_iter().map(Value::text).chain([Value::text("")]))
        }
        Some("number") => Value::Unknown,
        _ => Value::some_text(),
    }
}

/// Of a workflow that is called: what `with` gives, else the default, else nothing of the type.
pub fn of_call(call: Option<&Trigger<'_>>, given: Option<Value>, contexts: &Object) -> Result<Value, Fault> {
    let given = match given {
        None | Some(Value::Null) => Object::default(),
        Some(Value::Object(given)) => given,
        Some(_) => return Ok(Value::Unknown),
    };
    let mut inputs = Object::default();
    for (key, definition) in declared(call) {
        let kind = definition.get("type").and_then(Node::text).unwrap_or("string");
        let value = match (given.find(key), definition.get("default")) {
            (Some(value), _) => value.clone(),
            (None, _) if given.open => Value::Unknown,
            (None, Some(default)) => {
                // A default sees no jobs.
                let mut outside = contexts.clone();
                for unseen in ["needs", "matrix", "strategy"] {
                    outside.set(unseen, Value::Unknown);
                }
                resolve(default, &outside)?
            }
            (None, None) => match kind {
                "boolean" => Value::Bool(false),
                "number" => Value::Number(0.0),
                _ => Value::text(""),
            },
        };
        inputs.set(key, of_type(kind, value));
    }
    Ok(Value::Object(inputs))
}

fn of_type(kind: &str, value: Value) -> Value {
    if kind != "string" {
        return value;
    }
    Value::one_of(value.alternatives().into_iter().map(|value| match value {
        // Whatever it is, it becomes a text.
        Value::Unknown => Value::some_text(),
        value => Value::Text(value.as_pattern()),
    }))
}

fn declared<'file>(trigger: Option<&Trigger<'file>>) -> Vec<(&'file str, &'file Node)> {
    let inputs = trigger.and_then(|trigger| trigger.filter).and_then(|filter| filter.get("inputs"));
    match inputs.map(|inputs| &inputs.value) {
        Some(Yaml::Mapping(pairs)) => pairs.iter().map(|(key, value)| (key.name.as_str(), value)).collect(),
        _ => Vec::new(),
    }
}
