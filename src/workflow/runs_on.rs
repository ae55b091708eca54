//! Whether what a job asks for is what this runner has.

use super::{
    expression::{Object, Pattern, Value},
    known::Known,
};

/// Whether a job can land on the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// It cannot be excluded.
    MayReach,
    Reaches,
}

/// What `runs-on` came to, for one way in which it can come out; `None` when the runner cannot be meant.
///
/// A job runs where *all* its labels are, and in its group if it names one; both are compared without case.
pub fn lands(asked: &Value, known: &Known) -> Option<Certainty> {
    match asked {
        Value::OneOf(values) => {
            let answers: Vec<Option<Certainty>> = values.iter().map(|value| lands(value, known)).collect();
            let sure = answers.iter().all(|answer| *answer == Some(Certainty::Reaches));
            let best = answers.into_iter().max().flatten();
            if sure { best } else { best.map(|_| Certainty::MayReach) }
        }
        Value::Unknown => Some(Certainty::MayReach),
        Value::Array(labels) => all(labels.iter().map(|label| has(label, known))),
        Value::Object(asked) => in_group(asked, known),
        // GitHub refuses a job that asks for nothing.
        Value::Null => None,
        label => has(label, known),
    }
}

fn in_group(asked: &Object, known: &Known) -> Option<Certainty> {
    let unnamed = if asked.open { Some(Certainty::MayReach) } else { Some(Certainty::Reaches) };
    let labels = asked.find("labels").map_or(unnamed, |labels| lands(labels, known));
    let group = asked.find("group").map_or(unnamed, |group| {
        let group = group.as_pattern();
        // `org/NAME` and `enterprise/NAME` say whose group it is.
        let names =
            ["", "org/", "organization/", "ent/", "enterprise/"].map(|of| format!("{of}{}", known.group));
        if !names.iter().any(|name| group.may_be(name)) {
            None
        } else if group.as_exact().is_some() {
            Some(Certainty::Reaches)
        } else {
            Some(Certainty::MayReach)
        }
    });
    all([labels, group].into_iter())
}

/// The weakest of all answers.
fn all(answers: impl Iterator<Item = Option<Certainty>>) -> Option<Certainty> {
    answers.fold(Some(Certainty::Reaches), std::cmp::min)
}

fn has(label: &Value, known: &Known) -> Option<Certainty> {
    match label {
        Value::OneOf(_) | Value::Unknown => lands(label, known),
        // A list within the list is a mistake that GitHub refuses; nothing is lost by counting it.
        Value::Array(_) | Value::Object(_) => Some(Certainty::MayReach),
        label => {
            let label = label.as_pattern();
            let found = known.labels.iter().any(|own| label.may_be(own));
            let sure = label.as_exact().is_some();
            found.then_some(if sure { Certainty::Reaches } else { Certainty::MayReach })
        }
    }
}

/// What a runner lacks for a job that asks for one like it: for one of a person's own, by a label of ours or by
/// `self-hosted`. Nothing of a job that is meant for another machine.
pub fn lacks(asked: &Value, known: &Known) -> Option<Vec<String>> {
    match asked {
        Value::OneOf(values) => values.iter().find_map(|value| lacks(value, known)),
        Value::Array(labels) => {
            let (ours, others): (Vec<&Value>, Vec<&Value>) =
                labels.iter().partition(|label| has(label, known).is_some());
            let is_meant = !ours.is_empty() && !others.is_empty();
            is_meant.then(|| others.into_iter().map(|label| format!("the label {}", show(label))).collect())
        }
        Value::Object(asked) => {
            let mut lacking =
                asked.find("labels").and_then(|labels| lacks(labels, known)).unwrap_or_default();
            let labels_are_ours = asked.find("labels").is_some_and(|labels| lands(labels, known).is_some());
            if let Some(group) = asked.find("group").filter(|_| labels_are_ours) {
                lacking.push(format!("the group {} (it is in {})", show(group), known.group));
            }
            (!lacking.is_empty()).then_some(lacking)
        }
        _ => None,
    }
}

/// What was asked for, for people.
pub fn show(asked: &Value) -> String {
    match asked {
        Value::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Object(object) => {
            let field = |(name, value): &(String, Value)| format!("{name}: {}", show(value));
            format!("{{{}}}", object.fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::OneOf(values) => values.iter().map(show).collect::<Vec<_>>().join(" or "),
        plain => match plain.as_pattern() {
            pattern if pattern == Pattern::anything() => {
                "something that is only known when it runs".to_owned()
            }
            pattern => pattern.to_string(),
        },
    }
}
