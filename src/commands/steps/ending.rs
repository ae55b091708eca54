//! How what a unit or an engine runs is ended.

use std::time::Duration;

use crate::{
    engine::{self, Cli},
    systemd,
    value::RunnerName,
};

/// Larger builds than that are pushed before somebody types `down`, or with --keep-store.
const LAST_UPLOADS: Duration = Duration::from_secs(600);
/// What a pusher gets to break off.
const BREAKING_OFF: Duration = Duration::from_secs(10);

/// End a runner's unit; its job is not waited for.
pub fn end_unit(engine: &Cli, name: &RunnerName, is_ephemeral: bool) -> anyhow::Result<()> {
    let service = systemd::service_name(name);
    if is_ephemeral {
        systemd::systemctl(&["stop", "--no-block", &service])?;
        // One that has ended is not there to be told.
        let _ = systemd::systemctl(&["kill", "--kill-whom=main", "--signal=SIGINT", &service]);
        return Ok(systemd::systemctl(&["stop", &service])?);
    }
    // From now on nobody starts it again; the interrupt ends the patience that the unit's own stop has.
    systemd::systemctl(&["stop", "--no-block", &service])?;
    engine.stop(name)?;
    Ok(systemd::systemctl(&["stop", &service])?)
}

/// Have the pusher push what waits, or nothing more when it is to end `now`, and end; whether there is one.
pub fn end_pusher(engine: &Cli, name: &RunnerName, now: bool) -> anyhow::Result<bool> {
    let service = systemd::pusher_service_name(name);
    if systemd::is_ours_to_arrange() && systemd::property(&service, "LoadState") == "loaded" {
        systemd::systemctl(&["stop", "--no-block", &service])?;
        if now {
            // One that is ending already is not there to be told.
            let _ = systemd::systemctl(&["kill", "--signal=SIGINT", &service]);
        }
        systemd::systemctl(&["stop", &service])?;
        return Ok(true);
    }
    let pusher = engine.inspect(&engine::pusher_name(name))?;
    let is_ours = pusher.is_some_and(|found| !found.fingerprint.is_empty());
    if is_ours {
        engine.stop_pusher(name, if now { BREAKING_OFF } else { LAST_UPLOADS })?;
    }
    Ok(is_ours)
}
