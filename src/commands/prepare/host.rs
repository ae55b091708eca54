//! For a runner on the host itself: everything but its start.

use std::{path::Path, process::ExitCode};

use jiff::Timestamp;
use serde_json::json;

use crate::{
    commands::steps::{caching::Caching, declared::Declared, metadata, registration},
    engine::Status,
    host::unpacked,
    installation::Locked,
    progress::Progress,
    systemd::{self, pusher_service_name},
};

pub async fn prepare(
    declared: &Declared,
    runner: &Path,
    installation: &Locked,
    progress: &Progress,
    ahead: bool,
) -> anyhow::Result<ExitCode> {
    let name = &installation.name;
    unpacked(runner)?;
    // Typed by a person, it takes nothing from under a runner that works.
    let runs = || -> anyhow::Result<bool> {
        Ok(declared.housing.inspect(name)?.is_some_and(|found| found.status == Status::Running))
    };
    if ahead || !super::is_of_a_unit() && runs()? {
        progress.result(&format!("{name} can start again"), &json!({ "name": name }));
        return Ok(ExitCode::SUCCESS);
    }
    installation.make_handover(None)?;
    registration::at_start(declared, installation, progress).await?;
    if let Err(why) = pusher(declared, installation) {
        // Builds wait in their queue: that is no reason to run none.
        let unit = pusher_service_name(name);
        progress.note(&format!(
            "builds are not pushed until this is mended: {why:#}; then type `systemctl restart {unit}`"
        ));
    }
    metadata::deny(name);
    // What the last life said of itself says nothing of the next.
    installation.forget_state();
    progress.result(&format!("{name} may start"), &json!({ "name": name }));
    Ok(ExitCode::SUCCESS)
}

fn pusher(declared: &Declared, installation: &Locked) -> anyhow::Result<()> {
    if declared.settings.cache.is_none() {
        return Ok(installation.forget_cache()?);
    }
    Caching::keep(installation, &declared.settings, None, Timestamp::now())?;
    if super::is_of_a_unit() {
        // It may be pausing before its next try.
        systemd::systemctl(&["start", "--no-block", &pusher_service_name(&installation.name)])?;
    }
    Ok(())
}
