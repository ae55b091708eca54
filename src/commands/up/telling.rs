//! What a person is told before anything changes.

use super::Up;
use crate::{
    contract,
    engine::{Container, Layout},
};

impl Up<'_> {
    pub(super) fn say_caps(&self) {
        let caps = &self.settings.caps;
        let [memory, cpus, pids] = &self.settings.caps_origin;
        self.progress.note(&format!("memory {}: {memory}", caps.memory));
        self.progress.note(&format!("cpus   {}: {cpus}", caps.cpus));
        self.progress.note(&format!("pids   {}: {pids}", caps.pids));
    }

    /// What makes this runner weaker than another one would be: said, because nobody would look for it.
    pub(super) fn say_weaknesses(&self, container: &Container) {
        if self.settings.network.as_deref() == Some("host") {
            self.progress.note("network host: jobs can reach every service on this machine's loopback");
        }
        if container.layout == Layout::Foreign {
            self.progress.note(
                "this image is not of our layout: no hook refuses forks' jobs, its registration and its store go with \
                 its container, and nothing proves its sandbox; let only pushes start jobs (docs/how-it-works.md)",
            );
        }
        if container.layout == Layout::Foreign && self.settings.cache.is_some() {
            self.progress.note("its builds are not pushed: nothing in it queues them (--cache-to)");
        }
        if container.userns.is_none()
            && let Ok(Some(user)) = nix::unistd::User::from_uid(contract::RUNNER_UID.into())
        {
            self.progress.note(&format!(
                "without a user namespace jobs are this machine's user {}, who can see into them; with podman as root \
                 they are nobody here",
                user.name
            ));
        }
    }
}
