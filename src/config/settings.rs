use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use harmonia_store_core::signature::PublicKey;

use super::{
    args::{FileArgs, GitHubArgs, SettingsArgs},
    cache::{CacheSettings, cache_of},
    caps::{caps, disk, min_free},
    choices::{EngineChoice, Sandbox},
    file,
    github::{GitHubSettings, github_of},
    host::Host,
    keys,
    layer::{Error, Layer, Layers, Origin},
    slots::{JobStore, job_store, slots},
    trust::{TrustSettings, trust_of},
    updates::{UpdateSettings, update_of},
};
use crate::value::{ByteSize, Caps, Labels, RunnerName, Scope, Span};

pub(super) const VEGA_IMAGE: &str = "ghcr.io/ad-astra-computing/vega-builder:latest";

/// Enough for the end of a build that is nearly done, and no more than a shutdown should take.
const PATIENCE: Span = Span(Duration::from_secs(600));

#[derive(Debug, Clone)]
pub struct NixSettings {
    pub sandbox: Sandbox,
    pub max_jobs: u32,
    pub cores: u32,
    pub extra_substituters: String,
    pub extra_trusted_public_keys: String,
    /// Of an ephemeral runner's jobs.
    pub store: JobStore,
}

/// Everything `up` needs to know, checked against the host.
#[derive(Debug, Clone)]
pub struct Settings {
    pub scope: Scope,
    /// The organisation's group of runners; its default one unless given.
    pub group: Option<String>,
    pub name: RunnerName,
    pub labels: Labels,
    pub image: String,
    /// Where the image is, instead of in its registry.
    pub image_file: Option<PathBuf>,
    pub engine: EngineChoice,
    /// On the host itself, without a container: where GitHub's runner is unpacked.
    pub host: Option<PathBuf>,
    pub network: Option<String>,
    /// How many jobs run at once, each in a container of its own; nothing: the runner stays.
    pub ephemeral: Option<NonZeroU32>,
    /// How long a running job may go on when the runner is stopped.
    pub patience: Span,
    /// The first host id of the container's user namespace, when it is not ours to choose.
    pub userns_base: Option<u32>,
    pub caps: Caps,
    /// How much the store may hold; half of its file system unless given.
    pub disk: Option<ByteSize>,
    /// How much of the disk stays free; what [`crate::store::Reserve`] says unless given.
    pub min_free: Option<ByteSize>,
    /// Where each cap came from, in the order memory, cpus, pids.
    pub caps_origin: [Origin; 3],
    pub trust: TrustSettings,
    pub github: GitHubSettings,
    pub nix: NixSettings,
    /// Where its builds are pushed to, by themselves.
    pub cache: Option<CacheSettings>,
    /// When it is updated by itself.
    pub update: Option<UpdateSettings>,
}

impl Settings {
    /// Merge flags, environment and files, and check the result against `host`.
    pub fn resolve(args: &SettingsArgs, repository: Option<&str>, host: &Host) -> Result<Self, Error> {
        Self::merge(&layers(args.layer(repository), &args.file)?, host)
    }

    /// The checked value of merged layers.
    pub(super) fn merge(layers: &Layers, host: &Host) -> Result<Self, Error> {
        let scope = scope(layers)?;
        let name = match layers.parsed::<RunnerName>("name")? {
            Some((name, _)) => name,
            None => default_name(&scope),
        };
        let labels = labels(layers)?;
        let ephemeral = slots(layers, &name)?;
        let (caps, caps_origin) = caps(layers, host, ephemeral)?;
        expect_possible_on_host(layers)?;
        Ok(Self {
            group: group(layers, &scope)?,
            scope,
            name,
            labels,
            image: text_or(layers, "image", VEGA_IMAGE),
            image_file: lasting(layers, "image-file"),
            engine: layers.parsed_or("engine", EngineChoice::Auto, "what is installed")?.0,
            host: lasting(layers, "host"),
            network: network(layers)?,
            ephemeral,
            patience: layers.parsed_or("patience", PATIENCE, "Vega's")?.0,
            userns_base: userns_base(layers)?,
            caps,
            caps_origin,
            disk: disk(layers)?,
            min_free: min_free(layers)?,
            trust: trust_of(layers)?,
            github: github_of(layers)?,
            cache: cache_of(layers)?,
            update: update_of(layers)?,
            nix: NixSettings {
                sandbox: layers.parsed_or("nix.sandbox", Sandbox::Required, "the safe choice")?.0,
                max_jobs: layers.parsed_or("nix.max-jobs", 2, "Vega's")?.0,
                cores: layers.parsed_or("nix.cores", 0, "all")?.0,
                extra_substituters: text_or(layers, "nix.extra-substituters", ""),
                extra_trusted_public_keys: public_keys(layers)?,
                store: job_store(layers, ephemeral)?,
            },
        })
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
            github: github_of(&layers)?,
        })
    }
}

pub(super) fn layers(flags: Layer, args: &FileArgs) -> Result<Layers, Error> {
    let files = args.config.as_ref().map_or_else(file::standard_places, |path| vec![path.clone()]);
    let mut layers = vec![flags, keys::environment()];
    for path in &files {
        layers.push(file::read(path)?);
    }
    Ok(Layers(layers))
}

fn labels(layers: &Layers) -> Result<Labels, Error> {
    Ok(layers.parsed("labels")?.map_or_else(Labels::usual, |(labels, _)| labels))
}

/// One repository, or all of an organisation's.
fn scope(layers: &Layers) -> Result<Scope, Error> {
    match (layers.parsed("repository")?, layers.parsed("organization")?) {
        (Some((repository, _)), None) => Ok(Scope::Repository(repository)),
        (None, Some((organization, _))) => Ok(Scope::Organization(organization)),
        (Some(_), Some((_, organization))) => Err(Error::value(
            &organization,
            "a repository and an organisation are given; leave one of them out",
        )),
        (None, None) => Err(Error::NoRepository(file::usual_place())),
    }
}

/// What is about containers, or about a store of the runner's own, says nothing where there is none: no silent wish.
fn expect_possible_on_host(layers: &Layers) -> Result<(), Error> {
    if layers.get("host").is_none() {
        return Ok(());
    }
    let own = "a runner on the host itself (--host) has no container of its own";
    if let Some(given) = layers.get("nix.sandbox").filter(|given| given.text != "true") {
        let why = "with --host a build without the sandbox would see all of the host; leave it out";
        return Err(Error::value(&given.origin, why));
    }
    for (key, why) in [
        ("ephemeral", own),
        ("network", own),
        ("userns-base", own),
        ("caps.disk", "with --host the Nix store is the host's, which collects its garbage itself"),
        ("update.at", "with --host GitHub's runner is renewed by whoever unpacked it"),
    ] {
        // A declaration writes them all, with what means nothing.
        if let Some(given) = layers.get(key).filter(|given| !["", "0"].contains(&given.text.as_str())) {
            return Err(Error::value(&given.origin, format!("{why}; leave it out")));
        }
    }
    Ok(())
}

/// It goes to the runner's command line: nothing that it would read as an option.
fn group(layers: &Layers, scope: &Scope) -> Result<Option<String>, Error> {
    let Some(given) = layers.get("runner-group") else { return Ok(None) };
    if scope.repository().is_some() {
        let why = "a repository has no groups of runners; give an organisation, or leave the group out";
        return Err(Error::value(&given.origin, why));
    }
    let text = &given.text;
    if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
        let why = format!("'{}' is not the name of a group", text.escape_default());
        return Err(Error::value(&given.origin, why));
    }
    Ok(Some(text.clone()))
}

/// `vega-REPO`, with what a runner's name does not take left out.
fn default_name(scope: &Scope) -> RunnerName {
    let name: String = format!("vega-{}", scope.short()).chars().take(64).collect();
    // A repository's name has a runner name's letters; one that ends as what stands beside a runner gets a hyphen there.
    let parsed = name.parse().or_else(|_| name.replace('.', "-").parse());
    parsed.unwrap_or_else(|_| unreachable!("letters, digits and hyphens make a name"))
}

/// One that Nix cannot read keeps it from every cache, at a job's first path.
fn public_keys(layers: &Layers) -> Result<String, Error> {
    let Some(given) = layers.get("nix.extra-trusted-public-keys") else { return Ok(String::new()) };
    if let Some(word) = given.text.split_whitespace().find(|word| word.parse::<PublicKey>().is_err()) {
        let why =
            format!("'{word}' is no public key of a binary cache; write NAME:KEY, as who runs it tells it");
        return Err(Error::value(&given.origin, why));
    }
    Ok(given.text.clone())
}

pub(super) fn text_or(layers: &Layers, key: &str, default: &str) -> String {
    layers.get(key).map_or_else(|| default.to_owned(), |given| given.text.clone())
}

pub(super) fn path(layers: &Layers, key: &str) -> Option<PathBuf> {
    let given = layers.get(key)?;
    let path = Path::new(&given.text);
    // A path in a file is relative to that file, wherever the command is typed.
    match &given.origin {
        Origin::File { path: file, .. } => Some(file.parent().unwrap_or(Path::new("/")).join(path)),
        _ => Some(path.to_owned()),
    }
}

/// A path that means the same wherever a later command is typed.
pub(super) fn lasting(layers: &Layers, key: &str) -> Option<PathBuf> {
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

/// Ranges that people and systemd give away lie below; the last range ends with the last id.
fn userns_base(layers: &Layers) -> Result<Option<u32>, Error> {
    let Some((base, origin)) = layers.parsed::<u32>("userns-base")? else { return Ok(None) };
    let most = u32::MAX - 65536;
    if (65536..=most).contains(&base) {
        return Ok(Some(base));
    }
    Err(Error::value(
        &origin,
        format!("{base} is not between 65536 and {most}: this host's own users are below"),
    ))
}
