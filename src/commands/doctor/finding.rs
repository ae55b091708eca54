use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Fine,
    /// It works, and will not for ever, or not as well as it could.
    Warning,
    /// A runner would not work here, or does not.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, in a word.
    pub about: &'static str,
    pub level: Level,
    pub what: String,
    /// What to type, or to do; of whatever is not fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Finding {
    pub fn fine(about: &'static str, what: impl Into<String>) -> Self {
        Self { about, level: Level::Fine, what: what.into(), next: None }
    }

    pub fn warning(about: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { about, level: Level::Warning, what: what.into(), next: Some(next.into()) }
    }

    pub fn wrong(about: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { about, level: Level::Wrong, what: what.into(), next: Some(next.into()) }
    }

    /// Something that could not even be looked at.
    pub fn failure(about: &'static str, why: impl std::fmt::Display, next: impl Into<String>) -> Self {
        Self::wrong(about, why.to_string(), next)
    }
}
