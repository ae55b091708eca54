//! Short jobs in a row: what the last ones leave is no more than what the first ones did.

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, ensure};

use super::super::figure::{Figure, at_most};
use crate::{
    cgroup,
    scene::{Scene, succeeded},
    slots::Slots,
};

/// And after how many the first look is taken.
const MANY: usize = 200;
const SETTLED: usize = 50;
/// What 150 jobs may add, in megabytes: less than a tenth of one each.
const MEMORY: f64 = 4.0;
const DISK: f64 = 8.0;

/// Of an ephemeral runner: its keeper, and everything that the engine has on the disk.
pub fn of_slots() -> anyhow::Result<Vec<Figure>> {
    let scene = Scene::new("bench-many")?;
    let slots = Slots::start(&scene, 1, "")?;
    slots.until_online(1)?;
    let grown = grown(
        || slots.job("true").map(drop),
        || {
            // The job behind is buried beside the next one.
            slots.until_online(1)?;
            thread::sleep(Duration::from_secs(5));
            Ok((slots.resident()?, disk(&root(&scene)?)?, slots.volumes()?.len()))
        },
    )?;
    slots.end()?;
    Ok(vec![
        at_most("slots: keeper's growth, job 50 to 200", grown.0, MEMORY),
        at_most("slots: the engine's disk, job 50 to 200", grown.1, DISK),
    ])
}

/// Of one that stays: its container, and its volumes.
pub fn of_one_that_stays() -> anyhow::Result<Vec<Figure>> {
    let scene = Scene::new("bench-stays")?;
    scene.up(&[])?;
    let pid = scene.engine.pid(&scene.name)?;
    let grown = grown(
        || scene.job("true").map(drop),
        || {
            scene.until_online(true)?;
            thread::sleep(Duration::from_secs(5));
            Ok((cgroup::memory_bytes(pid)?, disk(&root(&scene)?)?, scene.engine.volumes()?.len()))
        },
    )?;
    ensure!(scene.engine.pid(&scene.name)? == pid, "it is another container by now");
    scene.down()?;
    Ok(vec![
        at_most("one that stays: growth, job 50 to 200", grown.0, MEMORY),
        at_most("one that stays: the disk, job 50 to 200", grown.1, DISK),
    ])
}

/// How many megabytes of memory and disk the last jobs have added; no volume.
fn grown(
    mut job: impl FnMut() -> anyhow::Result<()>,
    look: impl Fn() -> anyhow::Result<(f64, f64, usize)>,
) -> anyhow::Result<(f64, f64)> {
    for _ in 0..SETTLED {
        job()?;
    }
    let first = look()?;
    for _ in SETTLED..MANY {
        job()?;
    }
    let last = look()?;
    ensure!(last.2 <= first.2, "{} volumes after {MANY} jobs, {} after {SETTLED}", last.2, first.2);
    println!(
        "after {SETTLED} jobs: {:.1} MB of memory, {:.1} MB of disk; after {MANY}: {:.1}, {:.1}",
        first.0 / 1e6,
        first.1 / 1e6,
        last.0 / 1e6,
        last.1 / 1e6
    );
    Ok((((last.0 - first.0) / 1e6).max(0.0), ((last.1 - first.1) / 1e6).max(0.0)))
}

/// Everything that the engine has on the disk.
fn root(scene: &Scene) -> anyhow::Result<String> {
    scene.engine.said(&["info", "--format", "{{.Store.GraphRoot}}"])
}

fn disk(root: &str) -> anyhow::Result<f64> {
    let output = Command::new("du").args(["-sx", "--block-size=1"]).arg(Path::new(root)).output()?;
    // What goes while it is counted is none of an error's.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let counted = text.split_whitespace().next().and_then(|bytes| bytes.parse().ok());
    counted.with_context(|| succeeded(&output).err().map_or_else(String::new, |why| why.to_string()))
}
