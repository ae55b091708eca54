//! The image's environment contract, read once into a checked value.

use std::{path::PathBuf, time::Duration};

use url::Url;

use super::Quarters;
use crate::{
    contract::{self, env},
    value::{ByteSize, Caps, Labels, RunnerName, Scope, Span},
};

#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("the variable {name} is missing; `vega-builder up` sets it, or give it with --env")]
    Missing { name: &'static str },
    #[error("the variable {name} is '{value}': {why}")]
    Value { name: &'static str, value: String, why: String },
    #[error(
        "VEGA_MODE=donate is reserved: lending a machine to other people's builds does not exist yet; use VEGA_MODE=runner"
    )]
    Donate,
}

/// The image's `VEGA_NIX_SANDBOX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Prove it, else go on relaxed, with a warning.
    Auto,
    /// Prove it or do not start.
    Required,
    Off,
}

/// What becomes of builds that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploads {
    /// They stay in the store.
    Off,
    /// They are queued for a pusher beside this container.
    Queued,
    /// The same, and a job's end waits for them.
    Awaited,
}

/// Garbage collection of a runner that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// As nix-collect-garbage reads it: a number of days and `d`.
    pub delete_older_than: String,
    pub interval: Duration,
    pub initial_delay: Duration,
}

/// What PID 1 is told.
#[derive(Debug, Clone)]
pub struct Environment {
    pub server: Url,
    pub scope: Scope,
    pub name: RunnerName,
    pub labels: Labels,
    /// The organisation's group of runners; its default one unless given.
    pub group: Option<String>,
    pub ephemeral: bool,
    pub token_file: Option<PathBuf>,
    /// Where a just-in-time configuration will lie, when the host hands it over later.
    pub jit_file: Option<PathBuf>,
    pub sandbox: Mode,
    pub max_jobs: u32,
    pub cores: u32,
    pub extra_substituters: String,
    pub extra_trusted_public_keys: String,
    pub collection: Option<Collection>,
    pub quiet: bool,
    /// Where the runner and its jobs live.
    pub quarters: Quarters,
    /// How long a running job may go on when the container is stopped.
    pub patience: Duration,
    /// How much the store may hold.
    pub disk: Option<ByteSize>,
    /// How much of the disk stays free.
    pub min_free: Option<ByteSize>,
    /// Whether builds are queued for a pusher, and whether a job waits for its own.
    pub uploads: Uploads,
    /// What the kernel must hold this container to; nothing when it is run by hand.
    pub caps: Option<Caps>,
}

impl Environment {
    /// Read the variables through `variable`; an empty one counts as not set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        match get(env::MODE).as_deref() {
            None | Some("runner") => {}
            Some("donate") => return Err(EnvironmentError::Donate),
            Some(other) => return Err(wrong(env::MODE, other, "it is runner (or, one day, donate)")),
        }
        let required = |name| get(name).ok_or(EnvironmentError::Missing { name });
        let scope = if let Some(name) = get(env::ORGANIZATION) {
            Scope::Organization(name.parse().map_err(|why| wrong(env::ORGANIZATION, &name, &why))?)
        } else {
            let (owner, name) = (required(env::OWNER)?, required(env::REPOSITORY)?);
            let repository = format!("{owner}/{name}").parse();
            Scope::Repository(repository.map_err(|why| wrong(env::REPOSITORY, &name, &why))?)
        };
        let server = get(env::SERVER_URL).unwrap_or_else(|| "https://github.com".to_owned());
        let runner_name = get(env::RUNNER_NAME).unwrap_or_else(|| format!("vega-{}", scope.short()));
        let labels = get(env::LABELS).unwrap_or_else(|| "self-hosted,vega".to_owned());
        let sandbox = match get(env::SANDBOX).as_deref() {
            None | Some("auto") => Mode::Auto,
            Some("true") => Mode::Required,
            Some("false") => Mode::Off,
            Some(other) => return Err(wrong(env::SANDBOX, other, "it is auto, true or false")),
        };
        let collection = Collection {
            delete_older_than: days(env::GC_DELETE_OLDER_THAN, get(env::GC_DELETE_OLDER_THAN))?,
            interval: span(env::GC_INTERVAL, get(env::GC_INTERVAL), "7d")?,
            initial_delay: span(env::GC_INITIAL_DELAY, get(env::GC_INITIAL_DELAY), "1h")?,
        };
        let ephemeral = truth(env::EPHEMERAL, get(env::EPHEMERAL).as_deref(), false)?;
        let collects = truth(env::GC, get(env::GC).as_deref(), true)? && !ephemeral;
        Ok(Self {
            server: server.parse().map_err(|why| wrong(env::SERVER_URL, &server, &why))?,
            name: runner_name.parse().map_err(|why| wrong(env::RUNNER_NAME, &runner_name, &why))?,
            labels: labels.parse().map_err(|why| wrong(env::LABELS, &labels, &why))?,
            scope,
            group: get(env::GROUP),
            ephemeral,
            token_file: get(env::TOKEN_FILE).map(PathBuf::from),
            jit_file: get(env::JIT_CONFIG_FILE)
                .map(PathBuf::from)
                .filter(|file| file.starts_with(contract::HANDOVER_MOUNT)),
            sandbox,
            max_jobs: number(env::MAX_JOBS, get(env::MAX_JOBS).as_deref(), 2)?,
            cores: number(env::CORES, get(env::CORES).as_deref(), 0)?,
            extra_substituters: one_line(env::EXTRA_SUBSTITUTERS, get(env::EXTRA_SUBSTITUTERS))?,
            extra_trusted_public_keys: one_line(env::EXTRA_KEYS, get(env::EXTRA_KEYS))?,
            collection: collects.then_some(collection),
            quiet: truth(env::NO_BANNER, get(env::NO_BANNER).as_deref(), false)?,
            quarters: Quarters::read(get).map_err(|(name, value, why)| wrong(name, &value, &why))?,
            disk: size(env::DISK, get(env::DISK))?,
            min_free: size(env::MIN_FREE, get(env::MIN_FREE))?,
            patience: span(env::PATIENCE, get(env::PATIENCE), "0s")?,
            uploads: match get(env::UPLOADS).as_deref() {
                None => Uploads::Off,
                Some("no") => Uploads::Queued,
                Some("job") => Uploads::Awaited,
                Some(other) => return Err(wrong(env::UPLOADS, other, "it is job or no")),
            },
            caps: get(env::CAPS).map(|value| caps(&value)).transpose()?,
        })
    }
}

fn wrong<W: std::fmt::Display + ?Sized>(name: &'static str, value: &str, why: &W) -> EnvironmentError {
    EnvironmentError::Value { name, value: value.to_owned(), why: why.to_string() }
}

fn truth(name: &'static str, value: Option<&str>, default: bool) -> Result<bool, EnvironmentError> {
    match value {
        None => Ok(default),
        Some("1" | "true" | "yes") => Ok(true),
        Some("0" | "false" | "no") => Ok(false),
        Some(other) => Err(wrong(name, other, "it is true or false")),
    }
}

fn number(name: &'static str, value: Option<&str>, default: u32) -> Result<u32, EnvironmentError> {
    value.map_or(Ok(default), |value| value.parse().map_err(|_| wrong(name, value, "it is a whole number")))
}

fn size(name: &'static str, value: Option<String>) -> Result<Option<ByteSize>, EnvironmentError> {
    value.map(|value| value.parse().map_err(|why| wrong(name, &value, &why))).transpose()
}

/// A line break would let a value write lines of its own into nix.conf.
fn one_line(name: &'static str, value: Option<String>) -> Result<String, EnvironmentError> {
    let value = value.unwrap_or_default();
    if value.chars().any(char::is_control) {
        return Err(wrong(name, value.escape_default().to_string().as_str(), "it has a control character"));
    }
    Ok(value)
}

/// nix-collect-garbage understands days only.
fn days(name: &'static str, value: Option<String>) -> Result<String, EnvironmentError> {
    let value = value.unwrap_or_else(|| "7d".to_owned());
    let days = value.strip_suffix('d').and_then(|days| days.parse::<u16>().ok());
    days.map(|days| format!("{days}d"))
        .ok_or_else(|| wrong(name, &value, "it is a number of days and d, e.g. 7d: Nix counts in days here"))
}

/// `memory=<bytes>,millicpus=<number>,pids=<number>`, all three.
fn caps(value: &str) -> Result<Caps, EnvironmentError> {
    let form = "it is memory=<bytes>,millicpus=<number>,pids=<number>";
    Caps::of_variable(value).ok_or_else(|| wrong(env::CAPS, value, form))
}

fn span(name: &'static str, value: Option<String>, default: &str) -> Result<Duration, EnvironmentError> {
    let value = value.unwrap_or_else(|| default.to_owned());
    value.parse::<Span>().map(|span| span.0).map_err(|why| wrong(name, &value, &why))
}

#[cfg(test)]
mod tests {
    use super::{Environment, EnvironmentError, Mode};

    fn read(more: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
        let least = [("GITHUB_OWNER", "octo"), ("GITHUB_REPOSITORY", "heavy")];
        Environment::read(|name| {
            let find =
                |list: &[(&str, &str)]| list.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            find(more).or_else(|| find(&least))
        })
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let environment = read(&[]).unwrap();
        assert_eq!(environment.name.as_str(), "vega-heavy");
        assert_eq!(environment.labels.to_string(), "self-hosted,vega");
        assert_eq!((environment.sandbox, environment.max_jobs, environment.cores), (Mode::Auto, 2, 0));
        assert!(!environment.ephemeral && environment.collection.is_some());
    }

    #[test]
    fn the_caps_to_prove_are_read() {
        let environment = read(&[("VEGA_BUILDER_CAPS", "memory=1024,millicpus=1500,pids=512")]).unwrap();
        let caps = environment.caps.unwrap();
        assert_eq!((caps.memory.0, caps.cpus.millis, caps.pids), (1024, 1500, 512));
    }

    #[test]
    fn donating_is_reserved() {
        assert!(matches!(read(&[("VEGA_MODE", "donate")]), Err(EnvironmentError::Donate)));
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        for (name, value) in [
            ("VEGA_MODE", "x"),
            ("VEGA_NIX_SANDBOX", "maybe"),
            ("VEGA_NIX_MAX_JOBS", "-1"),
            ("VEGA_GC_INTERVAL", "soon"),
            ("VEGA_GC_DELETE_OLDER_THAN", "7d; rm"),
            ("VEGA_GC_DELETE_OLDER_THAN", "12h"),
            ("VEGA_BUILDER_CAPS", "memory=1,pids=2"),
            ("GITHUB_RUNNER_LABELS", "a b"),
            ("GITHUB_RUNNER_NAME", "../x"),
            ("VEGA_RUNNER_EPHEMERAL", "perhaps"),
            ("VEGA_BUILDER_DISK", "much"),
            ("VEGA_BUILDER_MIN_FREE", "little"),
            ("VEGA_BUILDER_UPLOADS", "perhaps"),
            ("VEGA_BUILDER_PATIENCE", "long"),
            ("VEGA_EXTRA_SUBSTITUTERS", "https://a\nsandbox = false"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
