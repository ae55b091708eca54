//! What an expression can come to, as far as that can be known before it runs.

use github_actions_expressions::Evaluation;

use super::{super::yaml, pattern::Pattern};

/// A value, a choice of values, or the admission that nothing is known.
///
/// Whoever reads one must take [`Value::Unknown`] for anything at all: the question is never "does this reach the
/// runner" but "can it be excluded that it does".
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    /// Text, in which parts may be unknown.
    Text(Pattern),
    Array(Vec<Value>),
    Object(Object),
    /// A repository's name, its owner, or its number: known only by whose it is.
    Repository(Identity),
    /// One of these.
    OneOf(Vec<Value>),
    Unknown,
}

/// An object; what an open one does not list is unknown, what a closed one does not list is null.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    pub fields: Vec<(String, Value)>,
    pub open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub part: Part,
    /// This repository's own, or certainly not.
    pub own: bool,
    /// This repository's, where it is known.
    pub name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `owner/name`
    Name,
    Owner,
    Id,
}

/// More alternatives than that are no longer told apart.
const MOST_ALTERNATIVES: usize = 64;

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Pattern::exact(text))
    }

    /// Some text, nobody knows which.
    pub fn some_text() -> Self {
        Self::Text(Pattern::anything())
    }

    /// `true` or `false`, nobody knows which.
    pub fn either() -> Self {
        Self::OneOf(vec![Self::Bool(true), Self::Bool(false)])
    }

    pub fn bool(known: Option<bool>) -> Self {
        known.map_or_else(Self::either, Self::Bool)
    }

    pub fn one_of(values: impl IntoIterator<Item = Value>) -> Self {
        let mut all: Vec<Value> = Vec::new();
        for value in values.into_iter().flat_map(Value::alternatives) {
            if value == Self::Unknown {
                return Self::Unknown;
            }
            if !all.contains(&value) {
                all.push(value);
            }
            if all.len() > MOST_ALTERNATIVES {
                return Self::Unknown;
            }
        }
        if all.len() == 1 { all.remove(0) } else { Self::OneOf(all) }
    }

    pub fn alternatives(self) -> Vec<Value> {
        match self {
            Self::OneOf(values) => values.into_iter().flat_map(Value::alternatives).collect(),
            value => vec![value],
        }
    }

    pub fn open_object(fields: Vec<(&str, Value)>) -> Self {
        Self::Object(Object::new(fields, true))
    }

    /// A field, by the rules of the `.` operator: names without case, null where nothing is.
    #[must_use]
    pub fn field(&self, name: &str) -> Value {
        match self {
            Self::Object(object) => object.get(name),
            Self::OneOf(values) => Self::one_of(values.iter().map(|value| value.field(name))),
            Self::Unknown => Self::Unknown,
            _ => Self::Null,
        }
    }

    #[must_use]
    pub fn at(&self, index: f64) -> Value {
        match self {
            Self::Array(items) => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let position = index.floor() as usize;
                if index < 0.0 || index.is_nan() {
                    return Self::Null;
                }
                items.get(position).cloned().unwrap_or(Self::Null)
            }
            Self::OneOf(values) => Self::one_of(values.iter().map(|value| value.at(index))),
            Self::Unknown | Self::Object(_) => Self::Unknown,
            _ => Self::Null,
        }
    }

    /// Whether it counts as true, where that can be known.
    pub fn truth(&self) -> Option<bool> {
        match self {
            Self::Text(pattern) => match pattern.as_exact() {
                Some(text) => Some(!text.is_empty()),
                None => pattern.has_literal().then_some(true),
            },
            Self::Array(_) | Self::Object(_) | Self::Repository(_) => Some(true),
            Self::OneOf(values) => agreed(values.iter().map(Value::truth)),
            Self::Unknown => None,
            plain => plain.exact().map(|value| value.as_boolean()),
        }
    }

    /// Whether two are equal by the rules of `==`, where that can be known.
    pub fn equals(&self, other: &Value) -> Option<bool> {
        match (self, other) {
            (Self::OneOf(values), other) | (other, Self::OneOf(values)) => {
                agreed(values.iter().map(|value| value.equals(other)))
            }
            // Lists and objects are equal only to themselves.
            (Self::Unknown, _)
            | (_, Self::Unknown)
            | (Self::Array(_) | Self::Object(_), Self::Array(_) | Self::Object(_)) => None,
            (Self::Repository(one), Self::Repository(two)) => one.equals(two),
            (Self::Repository(identity), Self::Text(pattern))
            | (Self::Text(pattern), Self::Repository(identity)) => {
                let name = identity.name.as_ref()?;
                let may_be_ours = pattern.may_be(name);
                match (identity.own, pattern.as_exact()) {
                    (true, Some(_)) => Some(may_be_ours),
                    (true, None) => (!may_be_ours).then_some(false),
                    (false, Some(_)) if may_be_ours => Some(false),
                    (false, _) => None,
                }
            }
            (Self::Text(one), Self::Text(two)) => match (one.as_exact(), two.as_exact()) {
                (Some(_), Some(text)) => Some(one.may_be(text)),
                (None, Some(text)) => (!one.may_be(text)).then_some(false),
                (Some(text), None) => (!two.may_be(text)).then_some(false),
                (None, None) => None,
            },
            // This repository is there, whatever it is called.
            (Self::Repository(Identity { own: true, .. }), Self::Null)
            | (Self::Null, Self::Repository(Identity { own: true, .. })) => Some(false),
            // Neither a list nor a repository's name is a number.
            (one, two) if one.is_no_number() || two.is_no_number() => Some(false),
            (one, two) => Some(one.exact()?.sema() == two.exact()?.sema()),
        }
    }

    fn is_no_number(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Object(_) | Self::Repository(Identity { part: Part::Name, .. }))
    }

    /// As the field's own crate knows it: a plain value of which everything is known.
    pub fn exact(&self) -> Option<Evaluation> {
        match self {
            Self::Null => Some(Evaluation::Null),
            Self::Bool(value) => Some(Evaluation::Boolean(*value)),
            Self::Number(value) => Some(Evaluation::Number(*value)),
            Self::Text(pattern) => pattern.as_exact().map(|text| Evaluation::String(text.to_owned())),
            Self::Repository(Identity { own: true, name: Some(name), .. }) => {
                Some(Evaluation::String(name.clone()))
            }
            _ => None,
        }
    }

    /// As text, by the rules of `format`.
    pub fn as_pattern(&self) -> Pattern {
        match self {
            Self::Text(pattern) => pattern.clone(),
            Self::Array(_) => Pattern::exact("Array"),
            Self::Object(_) => Pattern::exact("Object"),
            other => {
                other.exact().map_or_else(Pattern::anything, |value| Pattern::exact(value.sema().to_string()))
            }
        }
    }

    /// What JSON says.
    pub fn from_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(value) => value.as_f64().map_or(Self::Unknown, Self::Number),
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(items) => Self::Array(items.into_iter().map(Self::from_json).collect()),
            serde_json::Value::Object(fields) => Self::Object(Object {
                fields: fields.into_iter().map(|(name, value)| (name, Self::from_json(value))).collect(),
                open: false,
            }),
        }
    }
}

impl Object {
    pub fn new(fields: Vec<(&str, Value)>, open: bool) -> Self {
        Self { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), open }
    }

    pub fn get(&self, name: &str) -> Value {
        match self.find(name) {
            Some(value) => value.clone(),
            None if self.open => Value::Unknown,
            None => Value::Null,
        }
    }

    pub fn find(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(known, _)| yaml::same(known, name)).map(|(_, value)| value)
    }

    pub fn set(&mut self, name: &str, value: Value) {
        match self.fields.iter_mut().find(|(known, _)| yaml::same(known, name)) {
            Some((_, known)) => *known = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }
}

impl Identity {
    fn equals(&self, other: &Self) -> Option<bool> {
        match (self.own, other.own) {
            _ if self.part != other.part => None,
            (true, true) => Some(true),
            (false, false) => None,
            _ => Some(false),
        }
    }
}

/// What all of them say, if they say one thing.
fn agreed(mut answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let first = answers.next()??;
    answers.all(|answer| answer == Some(first)).then_some(first)
}
