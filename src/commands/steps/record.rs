//! What is noted of a runner that is being installed, by whichever command.

use std::path::{Path, PathBuf};

use crate::{
    config::Settings,
    engine::{Cli, Container},
    image::ImageReference,
    installation::{Accepted, Identity, Record},
};

/// Which registration these settings want.
pub fn identity(settings: &Settings) -> Identity {
    Identity {
        server: settings.github.server.clone(),
        scope: settings.scope.clone(),
        group: settings.group.clone(),
        name: settings.name.clone(),
        labels: settings.labels.clone(),
    }
}

/// The record of this container; what an earlier one knew of the same runner is kept.
pub fn record(
    settings: &Settings,
    engine: &Cli,
    container: &Container,
    before: Option<&Record>,
    accepted: Option<Accepted>,
) -> anyhow::Result<Record> {
    // As it was named, and not as it was found: the same name at the next start means the very image that runs.
    let named = settings.image.parse::<ImageReference>()?;
    Ok(Record {
        identity: identity(settings),
        engine: engine.program().to_owned(),
        layout: container.layout,
        image: named.to_string(),
        digest: container.image.value().clone(),
        evidence: container.image.evidence().clone(),
        trust: settings.trust.clone(),
        local_id: container.local_id.clone(),
        unconfined: container.unconfined,
        token_file: settings.github.token_file.as_deref().and_then(lasting),
        image_file: settings.image_file.clone(),
        app: settings.github.app.clone(),
        caps: settings.caps,
        registered: before.and_then(|record| record.registered.clone()),
        // Once accepted it is shown for ever, whatever has become of it since.
        accepted: accepted.or_else(|| before.and_then(|record| record.accepted.clone())),
        token_lapses: None,
    })
}

/// The path of a file that a later command can read too: no pipe.
pub fn lasting(path: &Path) -> Option<PathBuf> {
    path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    std::path::absolute(path).ok()
}
