//! A job's matrix, multiplied out as GitHub does (`MatrixBuilder` in actions/runner).

use super::{
    expression::{Object, Value, resolve},
    yaml::{self, Fault, Node},
};

/// GitHub runs no more of one job.
const MOST: usize = 256;

/// The `matrix` context of each job that a strategy makes; one that is null without a matrix.
///
/// Where a part cannot be known there are more of them than there will be jobs, never fewer.
pub fn combinations(strategy: Option<&Node>, contexts: &Object) -> Result<Vec<Value>, Fault> {
    let Some(matrix) = strategy.and_then(|strategy| strategy.get("matrix")) else {
        return Ok(vec![Value::Null]);
    };
    let anything = || vec![Value::open_object(vec![])];
    let mut all = Vec::new();
    for matrix in resolve(matrix, contexts)?.alternatives() {
        match matrix {
            Value::Object(matrix) if !matrix.open => all.extend(multiply(&matrix).unwrap_or_else(anything)),
            _ => return Ok(anything()),
        }
    }
    Ok(if all.len() > MOST { anything() } else { all })
}

/// None where nothing is certain, not even how many there are.
fn multiply(matrix: &Object) -> Option<Vec<Value>> {
    let mut vectors: Vec<(&str, Vec<Value>)> = Vec::new();
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    for (name, value) in &matrix.fields {
        match (name.as_str(), value) {
            ("include", value) => include = objects(value)?,
            ("exclude", value) => exclude = objects(value)?,
            (name, Value::Array(values)) => vectors.push((name, values.clone())),
            // A list that is not known, or one of several.
            (name, _) => vectors.push((name, vec![Value::Unknown])),
        }
    }
    let sizes = vectors.iter().map(|(_, values)| values.len());
    if sizes.fold(1, usize::saturating_mul) > MOST {
        return None;
    }
    let mut jobs: Vec<Object> = if vectors.is_empty() { vec![] } else { vec![Object::default()] };
    for (name, values) in &vectors {
        let with = |job: &Object, value: &Value| {
            let mut job = job.clone();
            job.set(name, value.clone());
            job
        };
        jobs = jobs.iter().flat_map(|job| values.iter().map(|value| with(job, value))).collect();
    }
    // What is left out for certain is left out; what may be, may also be there.
    jobs.retain(|job| !exclude.iter().any(|filter| matches(filter, job) == Some(true)));
    Some(add(jobs, &include, &vectors))
}

/// `include`: more for the jobs that it matches, and jobs of its own for what matches none.
fn add(jobs: Vec<Object>, include: &[Object], vectors: &[(&str, Vec<Value>)]) -> Vec<Value> {
    let is_vector = |name: &str| vectors.iter().any(|(known, _)| yaml::same(known, name));
    let mut matched = vec![false; include.len()];
    let mut all = Vec::new();
    for job in jobs {
        // Each undecided match doubles what is possible.
        let mut possible = vec![job.clone()];
        for (position, item) in include.iter().enumerate() {
            let filter = Object {
                fields: item.fields.iter().filter(|(name, _)| is_vector(name)).cloned().collect(),
                open: false,
            };
            let fits = matches(&filter, &job);
            if fits == Some(false) {
                continue;
            }
            matched[position] |= fits == Some(true);
            let extended: Vec<Object> = possible
                .iter()
                .cloned()
                .map(|mut job| {
                    for (name, value) in item.fields.iter().filter(|(name, _)| !is_vector(name)) {
                        job.set(name, value.clone());
                    }
                    job
                })
                .collect();
            if fits.is_none() {
                possible.extend(extended);
                if possible.len() > MOST {
                    return vec![Value::open_object(vec![])];
                }
            } else {
                possible = extended;
            }
        }
        all.extend(possible.into_iter().map(Value::Object));
    }
    let own = include.iter().zip(matched).filter(|(_, matched)| !matched);
    all.extend(own.map(|(item, _)| Value::Object(item.clone())));
    all
}

/// Whether a job has everything that a filter names, by the rules of `==`.
fn matches(filter: &Object, job: &Object) -> Option<bool> {
    let mut certain = true;
    for (name, wanted) in &filter.fields {
        match leaf_matches(wanted, &job.get(name)) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => certain = false,
        }
    }
    certain.then_some(true)
}

fn leaf_matches(wanted: &Value, there: &Value) -> Option<bool> {
    match wanted {
        Value::Object(fields) => {
            let mut certain = true;
            for (name, wanted) in &fields.fields {
                match leaf_matches(wanted, &there.field(name)) {
                    Some(true) => {}
                    Some(false) => return Some(false),
                    None => certain = false,
                }
            }
            certain.then_some(true)
        }
        Value::Array(_) => None,
        plain => plain.equals(there),
    }
}

fn objects(value: &Value) -> Option<Vec<Object>> {
    match value {
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::Object(object) if !object.open => Some(object.clone()),
                _ => None,
            })
            .collect(),
        Value::Null => Some(Vec::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Object, combinations};
    use crate::workflow::{expression::Value, yaml};

    fn of(text: &str) -> Vec<String> {
        let node = yaml::read(text).unwrap();
        let contexts = Object::new(vec![("vars", Value::open_object(vec![]))], false);
        let show = |value: &Value| match value {
            Value::Object(object) => {
                let field = |(name, value): &(String, Value)| format!("{name}={}", value.as_pattern());
                object.fields.iter().map(field).collect::<Vec<_>>().join(" ")
            }
            other => format!("{other:?}"),
        };
        combinations(Some(&node), &contexts).unwrap().iter().map(show).collect()
    }

    #[test]
    fn a_matrix_is_multiplied_out_as_github_does() {
        assert_eq!(of("{matrix: {a: [1, 2], b: [x, y]}}"), ["a=1 b=x", "a=1 b=y", "a=2 b=x", "a=2 b=y"]);
        assert_eq!(of("{matrix: {a: [1, 2], exclude: [{a: 1}]}}"), ["a=2"]);
        assert_eq!(
            of("{matrix: {a: [1, 2], include: [{a: 1, os: vega}, {a: 3, os: big}, {c: 4}]}}"),
            ["a=1 os=vega c=4", "a=2 c=4", "a=3 os=big"]
        );
        assert_eq!(of("{matrix: {include: [{os: a}, {os: b}]}}"), ["os=a", "os=b"]);
        assert_eq!(of("{fail-fast: false}"), ["Null"]);
    }

    #[test]
    fn what_a_matrix_may_hold_is_never_left_out() {
        assert_eq!(of("{matrix: '${{ fromJSON(vars.M) }}'}"), [""], "an open object");
        assert_eq!(of("{matrix: {os: '${{ fromJSON(vars.M) }}'}}"), ["os=*"]);
        assert_eq!(of("{matrix: {a: [1], exclude: [{a: '${{ vars.X }}'}]}}"), ["a=1"]);
        assert_eq!(
            of("{matrix: {a: [1], include: [{a: '${{ vars.X }}', os: vega}]}}"),
            ["a=1", "a=1 os=vega", "a=* os=vega"]
        );
    }
}
