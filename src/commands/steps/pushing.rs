//! What pushes a runner's builds to a cache, in a container beside it.

use std::path::PathBuf;

use jiff::Timestamp;

use super::caching::Caching;
use crate::{
    config::{CacheSettings, Settings},
    engine::{Cli, Container, Layout, Pusher, pusher_name},
    installation::Locked,
    progress::Progress,
};

/// Have a pusher run, or none, as the settings say; `at` is when the old container had ended and the new one had
/// not begun.
pub fn keep_pusher(
    engine: &Cli,
    installation: &Locked,
    settings: &Settings,
    container: &Container,
    at: Timestamp,
    progress: &Progress,
) -> anyhow::Result<()> {
    let Some(cache) = settings.cache.as_ref().filter(|_| container.layout == Layout::Contract) else {
        return take_away(engine, settings);
    };
    let Some(file) = Caching::keep(installation, settings, Some(container), at)? else {
        return Ok(());
    };
    let step = progress.step("pusher", "starting what pushes builds to the cache");
    let made = engine.keep_pusher(&pusher(container, cache, file))?;
    let (name, to) = (pusher_name(&container.name), cache.shown());
    step.done(&format!("{name} {} {to}", if made { "pushes builds to" } else { "goes on pushing to" }));
    Ok(())
}

/// What pushes a container's builds, beside it.
pub fn pusher(container: &Container, cache: &CacheSettings, settings: PathBuf) -> Pusher {
    Pusher {
        name: container.name.clone(),
        local_id: container.local_id.clone(),
        network: container.network.clone(),
        // systemd's own, which is not ended before what is in it: the uploads of the last job come after that.
        slice: container.slice.as_ref().map(|_| "system.slice".to_owned()),
        settings,
        key: cache.key_file.clone(),
        login: cache.login_file.clone(),
        folder: Caching::folder(cache),
    }
}

fn take_away(engine: &Cli, settings: &Settings) -> anyhow::Result<()> {
    let found = engine.inspect(&pusher_name(&settings.name))?;
    if found.is_some_and(|found| !found.fingerprint.is_empty()) {
        engine.stop_pusher(&settings.name, settings.patience.0)?;
        engine.remove(&pusher_name(&settings.name))?;
    }
    Ok(())
}
