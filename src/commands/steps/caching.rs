//! From the cache's settings to a push, and to what a pusher starts with.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use jiff::Timestamp;

use crate::{
    cache::{
        Store,
        compression::Compression,
        key::{self, KeyError},
        meter::Meter,
        place::Place,
        push::Push,
        secrets::{Allowed, Scanner},
        upstream::Upstreams,
        vega,
    },
    config::{CacheSettings, Settings},
    engine::Container,
    installation::{Locked, Places},
    value::{BuildOrigin, ImageOrigin},
};

/// What is pushed from a store by these settings.
pub struct Caching;

impl Caching {
    /// Every mistake in them shows here, before anything is pushed.
    pub fn push(settings: &CacheSettings, store: Store) -> anyhow::Result<Push> {
        let place = Place::at(&settings.to, settings.login_file.as_deref())?;
        let read = || settings.key_file.as_deref().map(key::read).transpose();
        let (key, provenance_key) = (if place.signs() { None } else { read()? }, read()?);
        let allowed = settings.allow_secrets.iter().map(|given| given.parse());
        let allowed = allowed.collect::<Result<Vec<Allowed>, _>>()?;
        Ok(Push {
            store,
            place,
            upstreams: Upstreams::new(&settings.upstreams)?,
            scanner: Some(Scanner::new(allowed)),
            key,
            provenance_key,
            compression: Compression::of(&settings.compression, None)?,
            meter: Arc::new(Meter::default()),
        })
    }

    /// The same before a runner is made: what `login` keeps is named, and a mistake is told before anything is
    /// downloaded for nothing.
    pub fn expect(settings: &mut CacheSettings) -> anyhow::Result<()> {
        if is_vega(&settings.to) && settings.login_file.is_none() {
            settings.login_file = Some(vega::login_path()?);
        }
        Self::push(settings, Store::files("/nix/store".into()))?;
        if is_vega(&settings.to) && settings.key_file.is_none() {
            // Made when there is something to sign with it.
            settings.key_file = Some(Places::standard().host_key());
        }
        Ok(())
    }

    /// Write down what a pusher starts with, beside this container or on the host itself; `at` is the moment from which on the runner is this one.
    pub fn keep(
        installation: &Locked,
        settings: &Settings,
        container: Option<&Container>,
        at: Timestamp,
    ) -> anyhow::Result<Option<PathBuf>> {
        let Some(cache) = &settings.cache else { return Ok(None) };
        let own = Places::standard().host_key();
        if is_vega(&cache.to) && cache.key_file.as_ref().is_none_or(|file| *file == own) {
            make_host_key(&own)?;
        }
        // Anybody may read it.
        if let Some(folder) = Self::folder(cache) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&folder)
                .with_context(|| format!("the cache's folder {} cannot be made", folder.display()))?;
        }
        let image = |container: &Container| ImageOrigin {
            image: container.image_name.clone(),
            digest: container.image.value().to_string(),
            signer: container.image.evidence().signer(),
        };
        let origin = BuildOrigin {
            runner: container.map_or(&settings.name, |container| container.instance()).to_string(),
            scope: settings.scope.to_string(),
            image: container.map(image),
            caps: container.map_or(settings.caps, |container| container.caps),
        };
        Ok(Some(installation.keep_cache(cache, origin, at)?))
    }

    /// The folder of this host that the cache is.
    pub fn folder(settings: &CacheSettings) -> Option<PathBuf> {
        if settings.to.starts_with('/') {
            return Some(settings.to.clone().into());
        }
        url::Url::parse(&settings.to).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
    }
}

/// This host's own key, when it is missing: it signs where a path was built, where the cache signs the paths itself.
fn make_host_key(file: &Path) -> anyhow::Result<()> {
    if file.exists() {
        return Ok(());
    }
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let name: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    match key::generate(&format!("host-{name}-1"), file) {
        // Another runner's first start was quicker.
        Ok(_) | Err(KeyError::Exists { .. }) => Ok(()),
        Err(why) => Err(why.into()),
    }
}

/// Whether it is the tenant's namespace at Vega.
fn is_vega(to: &str) -> bool {
    to == "vega" || to.starts_with("vega+")
}
