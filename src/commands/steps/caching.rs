//! From the cache's settings to a push.

use std::{path::PathBuf, sync::Arc};

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
    },
    config::CacheSettings,
};

/// What is pushed from a store by these settings.
pub struct Caching;

impl Caching {
    /// Every mistake in them shows here, before anything is pushed.
    pub fn push(settings: &CacheSettings, store: Store) -> anyhow::Result<Push> {
        let place = Place::at(&settings.to)?;
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

    /// The folder of this host that the cache is.
    pub fn folder(settings: &CacheSettings) -> Option<PathBuf> {
        if settings.to.starts_with('/') {
            return Some(settings.to.clone().into());
        }
        url::Url::parse(&settings.to).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
    }
}

/// Whether it is the tenant's namespace at Vega.
pub fn is_vega(to: &str) -> bool {
    to == "vega" || to.starts_with("vega+")
}
