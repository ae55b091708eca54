//! A runner's life in figures: its start, what lies between two jobs, many jobs in a row, and what it costs while nothing
//! happens.

mod gap;
mod idle;
mod many;

use std::{fs, path::Path, time::Instant};

use serde_json::Value;

use super::figure::{Figure, at_most};
use crate::{layout, scene::Scene};

/// Starts that are measured.
const STARTS: usize = 3;

pub fn life(against: &str) -> anyhow::Result<Vec<Figure>> {
    let mut figures = vec![gap::gap(against)?, start()?];
    figures.extend(idle::idle()?);
    figures.extend(many::of_slots()?);
    figures.extend(many::of_one_that_stays()?);
    figures.extend(after_a_reboot()?);
    Ok(figures)
}

/// From the engine's start of a container that has a registration to a runner that GitHub lists as online: what comes after a
/// reboot, without the machine's own boot.
fn start() -> anyhow::Result<Figure> {
    let scene = Scene::new("bench-start")?;
    scene.up(&[])?;
    let mut longest = 0.0_f64;
    for _ in 0..STARTS {
        scene.engine.said(&["stop", "--time", "20", &scene.name])?;
        scene.until_online(false)?;
        let began = Instant::now();
        scene.engine.said(&["start", &scene.name])?;
        scene.until_online(true)?;
        longest = longest.max(began.elapsed().as_secs_f64());
    }
    scene.down()?;
    Ok(Figure { unit: "s", ..at_most("start to listening, the longest of three", longest, 20.0) })
}

/// As the virtual machine of `make test` measured it, where that has run.
fn after_a_reboot() -> anyhow::Result<Vec<Figure>> {
    let file = layout::project().join("target/checks/scenarios.json");
    let Ok(text) = fs::read_to_string(Path::new(&file)) else {
        println!(
            "SKIPPED: boot to listening: a virtual machine measures it in `make test`, which has not run here"
        );
        return Ok(Vec::new());
    };
    let told: Value = serde_json::from_str(&text)?;
    let all = told["figures"].as_array().into_iter().flatten();
    let seconds =
        all.filter(|one| one["name"].as_str().is_some_and(|name| name.starts_with("boot to listening")));
    let longest = seconds.filter_map(|one| one["ours"].as_f64()).reduce(f64::max);
    // An emulated processor takes its time; the machine's own boot is in it.
    let figure =
        |seconds| Figure { unit: "s", ..at_most("boot to listening, virtual machine", seconds, 240.0) };
    Ok(longest.map(figure).into_iter().collect())
}
