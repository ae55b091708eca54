//! How much memory and disk the program itself takes.

use std::{fs, time::Duration};

use anyhow::Context as _;

use super::figure::{Figure, at_most};
use crate::scene::{Scene, program};

/// Resident memory of PID 1 while the runner listens.
pub fn idle_memory() -> anyhow::Result<Figure> {
    let scene = Scene::new("bench-idle")?;
    scene.up(&[])?;
    std::thread::sleep(Duration::from_secs(2));
    let status = fs::read_to_string(format!("/proc/{}/status", scene.engine.pid(&scene.name)?))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = kib.trim().trim_end_matches(" kB").parse()?;
    scene.down()?;
    Ok(at_most("entrypoint's resident memory, idle", kib * 1024.0 / 1e6, 15.0))
}

pub fn program_size() -> anyhow::Result<Figure> {
    let bytes = fs::metadata(program())?.len();
    #[expect(clippy::cast_precision_loss, reason = "megabytes need no more")]
    let megabytes = bytes as f64 / 1e6;
    Ok(at_most("release binary", megabytes, 15.0))
}
