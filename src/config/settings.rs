use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use url::Url;

use super::{
    file,
    host::Host,
    keys::{self, CredentialArgs, FileArgs, GitHubArgs, SettingsArgs, TrustArgs},
    layer::{Error, Layer, Layers, Origin},
};
use crate::value::{ByteSize, Caps, Labels, Repository, RunnerName, is_loopback};

const VEGA_IMAGE: &str = "ghcr.io/ad-astra-computing/vega-builder:latest";

/// Which engine runs the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineChoice {
    /// podman when it is installed, else docker.
    Auto,
    Podman,
    Docker,
}

impl FromStr for EngineChoice {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        match given {
            "auto" => Ok(Self::Auto),
            "podman" => Ok(Self::Podman),
            "docker" => Ok(Self::Docker),
            other => Err(format!("'{other}' is not an engine; write podman, docker or auto")),
        }
    }
}

/// The image's `VEGA_NIX_SANDBOX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    Auto,
    Required,
    Off,
}

impl FromStr for Sandbox {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        match given {
            "auto" => Ok(Self::Auto),
            "true" => Ok(Self::Required),
            "false" => Ok(Self::Off),
            other => Err(format!("'{other}' is not a sandbox mode; write true, auto or false")),
        }
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Required => "true",
            Self::Off => "false",
        })
    }
}

/// Whose signature is trusted. It is kept with an installation, so that every later check asks the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TrustSettings {
    /// Instead of the policy's publishers.
    pub publisher: Option<PublisherSettings>,
    /// The policy file, when there is one.
    pub policy: Option<PathBuf>,
    pub trusted_root: Option<PathBuf>,
}

/// The one publisher that the settings name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublisherSettings {
    Workflow { identity: String, issuer: Option<String> },
    Key(PathBuf),
}

#[derive(Debug, Clone)]
pub struct GitHubSettings {
    /// `https://github.com`, or the address of a GitHub Enterprise Server.
    pub server: Url,
    pub token_file: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub struct NixSettings {
    pub sandbox: Sandbox,
    pub max_jobs: u32,
    pub cores: u32,
    pub extra_substituters: String,
    pub extra_trusted_public_keys: String,
}

/// Everything `up` needs to know, checked against the host.
#[derive(Debug, Clone)]
pub struct Settings {
    pub repository: Repository,
    pub name: RunnerName,
    pub labels: Labels,
    pub image: String,
    pub engine: EngineChoice,
    pub network: Option<String>,
    pub caps: Caps,
    /// Where each cap came from, in the order memory, cpus, pids.
    pub caps_origin: [Origin; 3],
    pub trust: TrustSettings,
    pub github: GitHubSettings,
    pub nix: NixSettings,
}

impl Settings {
    /// Merge flags, environment and files, and check the result against `host`.
    pub fn resolve(args: &SettingsArgs, repository: Option<&str>, host: &Host) -> Result<Self, Error> {
        let layers = layers(args.layer(repository), &args.file)?;
        let Some((repository, _)) = layers.parsed::<Repository>("repository")? else {
            return Err(Error::NoRepository(file::usual_place()));
        };
        let name = match layers.parsed::<RunnerName>("name")? {
            Some((name, _)) => name,
            None => default_name(&repository),
        };
        let labels = labels(&layers)?;
        let (caps, caps_origin) = caps(&layers, host)?;
        Ok(Self {
            repository,
            name,
            labels,
            image: text_or(&layers, "image", VEGA_IMAGE),
            engine: layers.parsed_or("engine", EngineChoice::Auto, "what is installed")?.0,
            network: network(&layers)?,
            caps,
            caps_origin,
            trust: trust_of(&layers)?,
            github: GitHubSettings {
                server: server(&layers)?,
                token_file: path(&layers, "github.token-file"),
            },
            nix: NixSettings {
                sandbox: layers.parsed_or("nix.sandbox", Sandbox::Required, "the safe choice")?.0,
                max_jobs: layers.parsed_or("nix.max-jobs", 2, "Vega's")?.0,
                cores: layers.parsed_or("nix.cores", 0, "all")?.0,
                extra_substituters: text_or(&layers, "nix.extra-substituters", ""),
                extra_trusted_public_keys: text_or(&layers, "nix.extra-trusted-public-keys", ""),
            },
        })
    }
}

impl Settings {
    /// What nobody gave stays as it was at an earlier installation: the host's own figures move a little from boot
    /// to boot, and a running container is not made anew for that.
    pub fn keep_caps(&mut self, installed: &Caps) {
        let [memory, cpus, pids] = &mut self.caps_origin;
        let keep = |origin: &mut Origin| {
            let is_default = matches!(origin, Origin::Default(_));
            if is_default {
                *origin = Origin::Default("as it was installed".to_owned());
            }
            is_default
        };
        if installed.memory != self.caps.memory && keep(memory) {
            self.caps.memory = installed.memory;
        }
        if installed.cpus != self.caps.cpus && keep(cpus) {
            self.caps.cpus = installed.cpus;
        }
        if installed.pids != self.caps.pids && keep(pids) {
            self.caps.pids = installed.pids;
        }
    }
}

/// An image and whose signature it must have: all that `verify` needs.
#[derive(Debug, Clone)]
pub struct ImageSettings {
    pub image: String,
    pub trust: TrustSettings,
}

impl ImageSettings {
    /// `image` wins over what is configured.
    pub fn resolve(file: &FileArgs, trust: &TrustArgs, image: Option<&str>) -> Result<Self, Error> {
        let layers = layers(trust.layer(), file)?;
        let image = image.map_or_else(|| text_or(&layers, "image", VEGA_IMAGE), str::to_owned);
        Ok(Self { image, trust: trust_of(&layers)? })
    }
}

/// The runner that jobs are asked about, and where GitHub is.
#[derive(Debug, Clone)]
pub struct LintSettings {
    pub labels: Labels,
    /// Whether every job of the runner is given substituters.
    pub has_substituters: bool,
    pub github: GitHubSettings,
}

impl LintSettings {
    /// `given` wins over the labels that are configured.
    pub fn resolve(file: &FileArgs, github: &GitHubArgs, given: Option<&str>) -> Result<Self, Error> {
        let layers = layers(github.layer(given), file)?;
        Ok(Self {
            labels: labels(&layers)?,
            has_substituters: layers.get("nix.extra-substituters").is_some(),
            github: GitHubSettings {
                server: server(&layers)?,
                token_file: path(&layers, "github.token-file"),
            },
        })
    }
}

impl CredentialArgs {
    /// The token's file, when the flag, the variable or the configuration file names one.
    pub fn token_file(&self) -> Result<Option<PathBuf>, Error> {
        Ok(path(&layers(self.layer(), &FileArgs::default())?, "github.token-file"))
    }
}

fn layers(flags: Layer, args: &FileArgs) -> Result<Layers, Error> {
    let files = args.config.as_ref().map_or_else(file::standard_places, |path| vec![path.clone()]);
    let mut layers = vec![flags, keys::environment()];
    for path in &files {
        layers.push(file::read(path)?);
    }
    Ok(Layers(layers))
}

fn labels(layers: &Layers) -> Result<Labels, Error> {
    match layers.parsed::<Labels>("labels")? {
        Some((labels, _)) => Ok(labels),
        None => Labels::new(["self-hosted".to_owned(), "vega".to_owned()])
            .map_err(|why| Error::value(&Origin::Flag("--labels"), why)),
    }
}

/// `vega-REPO`, with what a runner's name does not take left out.
fn default_name(repository: &Repository) -> RunnerName {
    let name: String = format!("vega-{}", repository.name()).chars().take(64).collect();
    name.parse().unwrap_or_else(|_| unreachable!("a repository's name has a runner name's letters"))
}

fn text_or(layers: &Layers, key: &str, default: &str) -> String {
    layers.get(key).map_or_else(|| default.to_owned(), |given| given.text.clone())
}

fn path(layers: &Layers, key: &str) -> Option<PathBuf> {
    let given = layers.get(key)?;
    let path = Path::new(&given.text);
    // A path in a file is relative to that file, wherever the command is typed.
    match &given.origin {
        Origin::File { path: file, .. } => Some(file.parent().unwrap_or(Path::new("/")).join(path)),
        _ => Some(path.to_owned()),
    }
}

fn trust_of(layers: &Layers) -> Result<TrustSettings, Error> {
    let given = |key| layers.get(key);
    let publisher = match (given("trust.identity"), given("trust.key"), given("trust.issuer")) {
        (Some(identity), Some(key), _) => {
            let why = format!("a key and an identity ({}) are given; leave one of them out", identity.origin);
            return Err(Error::value(&key.origin, why));
        }
        (None, _, Some(issuer)) => {
            return Err(Error::value(
                &issuer.origin,
                "an issuer is nobody without an identity; give that too",
            ));
        }
        (Some(identity), None, issuer) => {
            regex::bytes::RegexBuilder::new(&identity.text)
                .unicode(false)
                .build()
                .map_err(|why| Error::value(&identity.origin, format!("not a regular expression: {why}")))?;
            let issuer = issuer.map(|given| given.text.clone());
            Some(PublisherSettings::Workflow { identity: identity.text.clone(), issuer })
        }
        (None, Some(_), None) => lasting(layers, "trust.key").map(PublisherSettings::Key),
        (None, None, None) => None,
    };
    Ok(TrustSettings {
        publisher,
        policy: lasting(layers, "trust.policy").or_else(file::trust_policy),
        trusted_root: lasting(layers, "trust.trusted-root"),
    })
}

/// A path that means the same wherever a later command is typed.
fn lasting(layers: &Layers, key: &str) -> Option<PathBuf> {
    path(layers, key).map(|path| std::path::absolute(&path).unwrap_or(path))
}

/// A network's name goes to the engine's command line: nothing that the engine would read as an option, or
/// as a way into another container (`container:ID`, `ns:PATH`).
fn network(layers: &Layers) -> Result<Option<String>, Error> {
    let Some(given) = layers.get("network") else { return Ok(None) };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if given.text.is_empty() || given.text.starts_with('-') || !given.text.chars().all(allowed) {
        let why = format!("'{}' is not the name of a network", given.text);
        return Err(Error::value(&given.origin, why));
    }
    Ok(Some(given.text.clone()))
}

fn server(layers: &Layers) -> Result<Url, Error> {
    let given = layers.get("github.url");
    let origin = given.map_or_else(|| Origin::Default(String::new()), |given| given.origin.clone());
    let text = given.map_or("https://github.com", |given| given.text.as_str());
    let url = Url::parse(text)
        .map_err(|why| Error::value(&origin, format!("'{text}' is not an address: {why}")))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(Error::value(&origin, format!("'{text}': a token is sent over https only"))),
    }
}

fn caps(layers: &Layers, host: &Host) -> Result<(Caps, [Origin; 3]), Error> {
    let default = host.default_caps();
    let kept = |what: &str, all: &dyn fmt::Display| format!("leaves the host {what} of its {all}");
    let spare = ByteSize(host.memory.0 - default.memory.0);
    let (memory, memory_origin) =
        layers.parsed_or("caps.memory", default.memory, &kept(&spare.to_string(), &host.memory))?;
    let spare = f64::from(host.processors) - f64::from(default.cpus.millis) / 1000.0;
    let (cpus, cpus_origin) = layers.parsed_or(
        "caps.cpus",
        default.cpus,
        &kept(&spare.to_string(), &format!("{} processors", host.processors)),
    )?;
    let (pids, pids_origin) =
        layers.parsed_or("caps.pids", default.pids, "a quarter of the host's, at most 16384")?;

    let least = ByteSize::mib(256);
    if memory > host.memory {
        let why = format!("a cap of {memory} is more than this machine's {}", host.memory);
        return Err(Error::value(&memory_origin, why));
    }
    if memory < least {
        return Err(Error::value(
            &memory_origin,
            format!("a cap of {memory} is less than the {least} that a runner needs"),
        ));
    }
    if cpus.millis > host.processors * 1000 {
        let why = format!("a cap of {cpus} processors is more than this machine's {}", host.processors);
        return Err(Error::value(&cpus_origin, why));
    }
    if cpus.millis < 100 {
        return Err(Error::value(
            &cpus_origin,
            format!("a cap of {cpus} processors is less than the 0.1 that a runner needs"),
        ));
    }
    if pids > host.pids {
        let why = format!("a cap of {pids} processes is more than this machine's {}", host.pids);
        return Err(Error::value(&pids_origin, why));
    }
    if pids < 64 {
        return Err(Error::value(
            &pids_origin,
            format!("a cap of {pids} processes is less than the 64 that a runner needs"),
        ));
    }
    Ok((Caps { memory, cpus, pids }, [memory_origin, cpus_origin, pids_origin]))
}
