//! Updates by themselves: whether this host can do that, and the timer.

use std::path::PathBuf;

use crate::{
    commands::install::{UnitError, program},
    config::{Settings, UpdateSettings},
    systemd::{self, UpdateTimer},
};

/// What a timer needs, before anything is made: systemd, a time that it knows, a program that only root can change.
pub fn expect(update: Option<&UpdateSettings>) -> anyhow::Result<Option<PathBuf>> {
    let Some(update) = update else { return Ok(None) };
    if !systemd::is_ours_to_arrange() {
        return Err(UnitError::NoTimer.into());
    }
    systemd::expect_calendar(update)?;
    Ok(Some(program()?))
}

/// Write the timer, or take back the one of earlier settings.
pub fn arrange(settings: &Settings, program: Option<PathBuf>) -> Result<(), systemd::Error> {
    match (&settings.update, program) {
        (Some(update), Some(program)) => {
            UpdateTimer { name: &settings.name, program, settings: update }.write()
        }
        _ if systemd::is_ours_to_arrange() => systemd::remove_timer(&settings.name).map(drop),
        _ => Ok(()),
    }
}
