//! What pushes the runner's builds to a cache, beside it.

use std::{fs, os::unix::fs::DirBuilderExt as _};

use anyhow::Context as _;

use super::Up;
use crate::{
    cache::vega,
    commands::steps::caching::{Caching, is_vega},
    config::{CacheSettings, PusherSettings},
    engine::{Container, Layout, Pusher, pusher_name},
    value::BuildOrigin,
};

impl Up<'_> {
    /// Have a pusher run, or none, as the settings say.
    pub(super) fn keep_pusher(&self, container: &Container) -> anyhow::Result<()> {
        let Some(cache) = self.settings.cache.as_ref().filter(|_| container.layout == Layout::Contract)
        else {
            return self.take_pusher_away();
        };
        let step = self.progress.step("pusher", "starting what pushes builds to the cache");
        let pusher = Pusher {
            name: container.name.clone(),
            local_id: container.local_id.clone(),
            network: container.network.clone(),
            settings: self.installation.keep_cache(&self.pusher_settings(cache, container))?,
            key: cache.key_file.clone(),
            login: is_vega(&cache.to).then(vega::login_path).transpose()?,
            folder: folder(cache)?,
        };
        let made = self.engine.keep_pusher(&pusher)?;
        let (name, to) = (pusher_name(&container.name), cache.shown());
        step.done(&format!("{name} {} {to}", if made { "pushes builds to" } else { "goes on pushing to" }));
        Ok(())
    }

    /// With what its builds' provenance tells of the runner.
    fn pusher_settings(&self, cache: &CacheSettings, container: &Container) -> PusherSettings {
        let origin = BuildOrigin {
            runner: container.name.to_string(),
            scope: self.settings.scope.to_string(),
            image: container.image_name.clone(),
            digest: container.image.value().to_string(),
            signer: container.image.evidence().signer(),
            caps: container.caps,
        };
        PusherSettings { cache: cache.clone(), origin }
    }

    fn take_pusher_away(&self) -> anyhow::Result<()> {
        if self.before.is_some() && self.engine.inspect(&pusher_name(&self.settings.name))?.is_some() {
            self.engine.stop_pusher(&self.settings.name, self.settings.patience.0)?;
            self.engine.remove(&pusher_name(&self.settings.name))?;
        }
        Ok(())
    }
}

/// The folder that the cache is, made when it is missing: anybody may read it.
fn folder(cache: &CacheSettings) -> anyhow::Result<Option<std::path::PathBuf>> {
    let Some(folder) = Caching::folder(cache) else { return Ok(None) };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&folder)
        .with_context(|| format!("the cache's folder {} cannot be made", folder.display()))?;
    Ok(Some(folder))
}
