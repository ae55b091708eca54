//! From the cache's settings to a push, and to what a pusher starts with.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use jiff::Timestamp;

use crate::{
    cache::{
        Error, Store,
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
    installation::Locked,
    value::BuildOrigin,
};

/// What is pushed from a store by these settings.
pub struct Caching;

impl Caching {
    /// Every mistake in them shows here, before anything is pushed.
    pub fn push(settings: &CacheSettings, store: Store) -> anyhow::Result<Push> {
        let place = Place::at(&settings.to, settings.login_file.as_deref())?;
        if place.signs() && settings.key_file.is_some() {
            return Err(Error::from(KeyError::NotOurs).into());
        }
        let allowed = settings.allow_secrets.iter().map(|given| given.parse());
        let allowed = allowed.collect::<Result<Vec<Allowed>, _>>()?;
        Ok(Push {
            store,
            place,
            upstreams: Upstreams::new(&settings.upstreams)?,
            scanner: Some(Scanner::new(allowed)),
            key: settings.key_file.as_deref().map(key::read).transpose()?,
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
        Self::push(settings, Store::files("/nix/store".into())).map(drop)
    }

    /// Write down what a pusher starts with; `at` is the moment from which on the runner is this one.
    pub fn keep(
        installation: &Locked,
        settings: &Settings,
        container: &Container,
        at: Timestamp,
    ) -> anyhow::Result<Option<PathBuf>> {
        let Some(cache) = &settings.cache else { return Ok(None) };
        // Anybody may read it.
        if let Some(folder) = Self::folder(cache) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&folder)
                .with_context(|| format!("the cache's folder {} cannot be made", folder.display()))?;
        }
        let origin = BuildOrigin {
            runner: container.name.to_string(),
            scope: settings.scope.to_string(),
            image: container.image_name.clone(),
            digest: container.image.value().to_string(),
            signer: container.image.evidence().signer(),
            caps: container.caps,
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

/// Whether it is the tenant's namespace at Vega.
fn is_vega(to: &str) -> bool {
    to == "vega" || to.starts_with("vega+")
}
