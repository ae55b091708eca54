//! How what a unit or an engine runs is ended.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::housing::Housing;
use crate::{
    engine::{self, Cli, Status},
    installation::{Error, Installation},
    systemd,
    value::RunnerName,
};

/// Larger builds than that are pushed before somebody types `down`, or with --keep-store.
pub const LAST_UPLOADS: Duration = Duration::from_secs(600);
/// What the keeper of slots gets to cancel its jobs and end.
const KEEPER: Duration = Duration::from_secs(120);
/// What a pusher gets to break off.
const BREAKING_OFF: Duration = Duration::from_secs(10);

/// End a runner's unit; its job is not waited for.
pub fn end_unit(housing: &Housing, name: &RunnerName, is_ephemeral: bool) -> anyhow::Result<()> {
    let service = systemd::service_name(name);
    if is_ephemeral && !has_unit(name) {
        // Whoever keeps its slots in the foreground rests.
        return Ok(());
    }
    if is_ephemeral {
        return interrupt(&service);
    }
    let Housing::Container(engine) = housing else { return interrupt(&service) };
    // From now on nobody starts it again; the interrupt ends the patience that the unit's own stop has.
    if has_unit(name) {
        systemd::systemctl(&["stop", "--no-block", &service])?;
    }
    engine.stop(name)?;
    Ok(stop_unit(&service)?)
}

/// Have a unit end, where this systemd knows it: what was cut short may have written no more than a part of them.
pub fn stop_unit(unit: &str) -> Result<(), systemd::Error> {
    if is_unknown(unit) {
        return Ok(());
    }
    systemd::systemctl(&["stop", unit])
}

/// One whose file is gone may run all the same.
fn is_unknown(unit: &str) -> bool {
    systemd::property(unit, "LoadState") == "not-found"
        && systemd::property(unit, "ActiveState") == "inactive"
}

/// End a service whose main process is ours, and whose own stop has patience.
pub fn interrupt(service: &str) -> anyhow::Result<()> {
    if is_unknown(service) {
        return Ok(());
    }
    systemd::systemctl(&["stop", "--no-block", service])?;
    // One that has ended is not there to be told.
    let _ = systemd::systemctl(&["kill", "--kill-whom=main", "--signal=SIGINT", service]);
    Ok(systemd::systemctl(&["stop", service])?)
}

/// Whether this host's systemd has the runner's unit.
pub fn has_unit(name: &RunnerName) -> bool {
    systemd::is_ours_to_arrange() && systemd::property(&systemd::service_name(name), "LoadState") == "loaded"
}

/// End whoever keeps a runner's slots without a unit; its jobs are cancelled.
pub fn end_keeper(installation: &Installation) -> anyhow::Result<()> {
    let until = Instant::now() + KEEPER;
    while matches!(installation.hold_slots(), Err(Error::SlotsKept { .. })) {
        // One that has just ended is not there to be told.
        let _ = installation.signal_keeper(Signal::SIGINT);
        anyhow::ensure!(Instant::now() < until, "who keeps the slots of {} does not end", installation.name);
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Jobs of an ephemeral runner that nobody keeps any more are cancelled.
pub fn stop_jobs(engine: &Cli, name: &RunnerName) -> Result<(), engine::Error> {
    for (job, found) in engine.jobs(name)? {
        if found.status == Status::Running {
            engine.stop(&job)?;
        }
    }
    Ok(())
}

/// Have the pusher push what waits, or nothing more when it is to end `now`, and end; whether there is one.
pub fn end_pusher(housing: &Housing, name: &RunnerName, now: bool) -> anyhow::Result<bool> {
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
    let Housing::Container(engine) = housing else { return Ok(false) };
    let pusher = engine.inspect(&engine::pusher_name(name))?;
    let is_ours = pusher.is_some_and(|found| !found.fingerprint.is_empty());
    if is_ours {
        engine.stop_pusher(name, if now { BREAKING_OFF } else { LAST_UPLOADS })?;
    }
    Ok(is_ours)
}
