//! What pushes the runner's builds to a cache, beside it.

use jiff::Timestamp;

use super::Up;
use crate::{
    commands::steps::caching::Caching,
    engine::{Container, Layout, Pusher, pusher_name},
};

impl Up<'_> {
    /// Have a pusher run, or none, as the settings say; `at` is when the old container had ended and the new one had
    /// not begun.
    pub(super) fn keep_pusher(&self, container: &Container, at: Timestamp) -> anyhow::Result<()> {
        let Some(cache) = self.settings.cache.as_ref().filter(|_| container.layout == Layout::Contract)
        else {
            return self.take_pusher_away();
        };
        let Some(settings) = Caching::keep(self.installation, self.settings, container, at)? else {
            return Ok(());
        };
        let step = self.progress.step("pusher", "starting what pushes builds to the cache");
        let pusher = Pusher {
            name: container.name.clone(),
            local_id: container.local_id.clone(),
            network: container.network.clone(),
            settings,
            key: cache.key_file.clone(),
            login: cache.login_file.clone(),
            folder: Caching::folder(cache),
        };
        let made = self.engine.keep_pusher(&pusher)?;
        let (name, to) = (pusher_name(&container.name), cache.shown());
        step.done(&format!("{name} {} {to}", if made { "pushes builds to" } else { "goes on pushing to" }));
        Ok(())
    }

    fn take_pusher_away(&self) -> anyhow::Result<()> {
        let found = self.engine.inspect(&pusher_name(&self.settings.name))?;
        if found.is_some_and(|found| !found.fingerprint.is_empty()) {
            self.engine.stop_pusher(&self.settings.name, self.settings.patience.0)?;
            self.engine.remove(&pusher_name(&self.settings.name))?;
        }
        Ok(())
    }
}
