use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where a value came from; shown in errors and in `up`'s table of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Variable(&'static str),
    File {
        path: PathBuf,
        line: usize,
        key: String,
    },
    /// Nobody gave it: the reason for the value that was taken instead.
    Default(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::File { path, line, key } => write!(f, "{}:{line}: {key}", path.display()),
            Self::Default(reason) => write!(f, "default ({reason})"),
        }
    }
}

/// A value as text with its origin; parsed when the layers are merged.
#[derive(Debug, Clone)]
pub struct Given {
    pub text: String,
    pub origin: Origin,
}

/// One source of settings: key (`caps.memory`) → value.
pub type Layer = BTreeMap<&'static str, Given>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{origin}: {why}")]
    Value { origin: Origin, why: String },
    #[error("{}:{line}: unknown key '{key}'{}", .path.display(), nearest(.suggestion.as_ref()))]
    UnknownKey { path: PathBuf, line: usize, key: String, suggestion: Option<&'static str> },
    #[error("{}:{line}: {why}", .path.display())]
    Syntax { path: PathBuf, line: usize, why: String },
    #[error("cannot read {}: {why}; check its path and permissions", .path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("no repository is given; type e.g. `vega-builder up OWNER/NAME`, or set `repository` (or `organization`) in {}", .0.display())]
    NoRepository(PathBuf),
}

fn nearest(suggestion: Option<&&'static str>) -> String {
    suggestion.map_or_else(
        || "; `vega-builder up --help` lists the keys".to_owned(),
        |known| format!("; did you mean '{known}'?"),
    )
}

impl Error {
    pub fn value(origin: &Origin, why: impl fmt::Display) -> Self {
        Self::Value { origin: origin.clone(), why: why.to_string() }
    }

    pub fn unreadable(path: &Path, why: std::io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), why }
    }
}

/// The layers in the order of their precedence, the strongest first.
pub struct Layers(pub Vec<Layer>);

impl Layers {
    pub fn get(&self, key: &str) -> Option<&Given> {
        self.0.iter().find_map(|layer| layer.get(key))
    }

    /// The parsed value of `key` and its origin, when somebody gave one.
    pub fn parsed<T>(&self, key: &str) -> Result<Option<(T, Origin)>, Error>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let Some(given) = self.get(key) else { return Ok(None) };
        let value = given.text.parse().map_err(|why| Error::value(&given.origin, why))?;
        Ok(Some((value, given.origin.clone())))
    }

    /// The parsed value of `key`, or the default with its reason.
    pub fn parsed_or<T>(&self, key: &str, default: T, reason: &str) -> Result<(T, Origin), Error>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        Ok(self.parsed(key)?.unwrap_or_else(|| (default, Origin::Default(reason.to_owned()))))
    }
}
