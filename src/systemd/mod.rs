//! What systemd is told: how a runner comes back after a reboot, and, where a unit makes its container, the unit.
//!
//! [`Boot`] is for the containers of `up`; [`Unit`] for those of `install`, as a Quadlet or as a plain service; [`HostRunner`] for a runner without one. The NixOS
//! module in `modules/` says the same in its own language.

mod beside;
mod boot;
mod files;
mod host;
mod host_runner;
mod plain;
mod pusher;
mod quadlet;
mod slots;
mod text;
mod unit;
mod updates;

pub use boot::{Boot, begin, forget, make_slice};
pub use files::remove_all;
pub use host::{
    has_quadlet, is_ours_to_arrange, journal, program, property, set_properties, systemctl, why_not,
};
pub use host_runner::HostRunner;
pub use pusher::{PusherUnit, pusher_service_name};
pub use unit::{Unit, path_name, service_name, slice_name};
pub use updates::{
    NextUpdate, UpdateTimer, expect_calendar, remove_timer, update_service_name, update_timer_name, window,
};

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use crate::{config::JobStore, value::RunnerName};

/// Whatever ends is started again, ever more slowly.
const RESTARTS: &str = "\
Restart=always
RestartSec=5
RestartSteps=6
RestartMaxDelaySec=300
";

/// Which command writes a runner's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    Install,
    UpHost,
}

impl Writer {
    /// As the files' first line says it.
    fn line(self, name: &RunnerName) -> String {
        let (verb, undo) = match self {
            Self::Install => ("install", "uninstall"),
            Self::UpHost => ("up --host", "down"),
        };
        format!("# vega-builder: written by `vega-builder {verb}`, removed by `vega-builder {undo} {name}`\n")
    }
}

/// An ephemeral runner's.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    pub number: NonZeroU32,
    /// Whether something fetches for all of them.
    pub store: JobStore,
}

impl Slots {
    pub fn of(number: Option<NonZeroU32>, store: JobStore) -> Option<Self> {
        Some(Self { number: number?, store })
    }
}

/// Between the engine's last resort and systemd's.
const SPARE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be written: {why}; run this command with sudo", .path.display())]
    File { path: PathBuf, why: std::io::Error },
    #[error("`{command}` failed: {why}; see `systemctl status` and `journalctl -b`")]
    Systemctl { command: String, why: String },
    #[error(
        "update.at: '{at}' is no time for a timer of systemd's: {why}; write e.g. 'Sun 03:00' (systemd.time(7))"
    )]
    Calendar { at: String, why: String },
}
