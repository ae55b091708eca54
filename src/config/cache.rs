//! Where the runner's builds are pushed to, by themselves.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{
    layer::{Error, Layers, Origin},
    settings::lasting,
};
use crate::value::Origins;

/// A binary cache for the builds of a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheSettings {
    pub to: String,
    /// The key that signs them, where the cache does not do that itself.
    #[serde(skip)]
    pub key_file: Option<PathBuf>,
    /// What the cache is logged in with, in a file.
    #[serde(skip)]
    pub login_file: Option<PathBuf>,
    /// Caches whose paths need not be pushed.
    pub upstreams: Vec<String>,
    pub compression: String,
    pub wait: Wait,
    /// No secrets although they look like them: each a rule, and an expression for the file's name.
    pub allow_secrets: Vec<String>,
}

/// What `up` writes down for the pusher: for root alone, because an address may have a login in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PusherSettings {
    pub cache: CacheSettings,
    /// For the provenance of its builds.
    pub origins: Origins,
}

/// What waits for the uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// Nothing but the runner's own end.
    #[default]
    No,
    /// The end of each job, too.
    Job,
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        match given {
            "no" => Ok(Self::No),
            "job" => Ok(Self::Job),
            other => Err(format!("'{other}' waits for nothing that is known; write job or no")),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no",
            Self::Job => "job",
        })
    }
}

const UPSTREAM: &str = "https://cache.nixos.org";
const COMPRESSION: &str = "zstd";

impl PusherSettings {
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|why| Error::unreadable(path, why))?;
        let origin = Origin::File { path: path.to_owned(), line: 1, key: "cache".to_owned() };
        serde_json::from_str(&text).map_err(|why| Error::value(&origin, why))
    }
}

impl CacheSettings {
    /// For a person: without a login that the address may have.
    pub fn shown(&self) -> String {
        let Ok(mut url) = url::Url::parse(&self.to) else { return self.to.clone() };
        let _ = url.set_password(None);
        url.to_string()
    }
}

pub(super) fn cache_of(layers: &Layers) -> Result<Option<CacheSettings>, Error> {
    let Some(to) = layers.get("cache.to") else {
        let stray = [
            "cache.key-file",
            "cache.login-file",
            "cache.upstreams",
            "cache.wait",
            "cache.compression",
            "cache.allow-secrets",
        ];
        return match stray.into_iter().find_map(|key| layers.get(key)) {
            // The variable of the key serves `push` as well.
            Some(given) if !matches!(given.origin, Origin::Variable(_)) => Err(Error::value(
                &given.origin,
                "it is for a cache, and none is given: say where with --cache-to",
            )),
            _ => Ok(None),
        };
    };
    let upstreams = layers.get("cache.upstreams").map_or(UPSTREAM, |given| given.text.as_str());
    Ok(Some(CacheSettings {
        to: to.text.clone(),
        key_file: lasting(layers, "cache.key-file"),
        login_file: lasting(layers, "cache.login-file"),
        upstreams: words(upstreams),
        compression: layers
            .get("cache.compression")
            .map_or(COMPRESSION, |given| given.text.as_str())
            .to_owned(),
        allow_secrets: words(layers.get("cache.allow-secrets").map_or("", |given| given.text.as_str())),
        wait: layers.parsed_or("cache.wait", Wait::No, "nobody waits")?.0,
    }))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
