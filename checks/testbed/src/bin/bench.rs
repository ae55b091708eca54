//! `make bench`: the figures, each with what it is measured against, and the report.

use std::{fs, process::ExitCode};

use anyhow::Context as _;
use serde_json::{Value, json};
use testbed::{bench, cosign::Cosign, layout};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<bool> {
    let cosign = Cosign::Three.version()?;
    let against = format!("the guide's commands: podman, cosign {cosign}");
    let mut figures = Vec::new();
    figures.extend(bench::up(&against)?);
    figures.push(bench::heavy_build()?);
    figures.push(bench::idle_memory()?);
    figures.push(bench::program_size()?);
    let ok = figures.iter().all(bench::Figure::ok);
    println!("\n{:<44} {:>9} {:>9} {:>7} {:>7}", "figure", "ours", "theirs", "ratio", "bound");
    for figure in &figures {
        println!("{figure}");
    }
    let report = json!({
        "ok": ok,
        "machine": machine()?,
        "figures": figures.iter().map(bench::Figure::json).collect::<Vec<Value>>(),
        "scenarios": [],
    });
    let folder = layout::project().join("target/bench");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("up.json"), serde_json::to_string_pretty(&report)?)?;
    println!("the report: target/bench/up.json");
    Ok(ok)
}

fn machine() -> anyhow::Result<Value> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).context("MemTotal")?;
    let kib: f64 = total.trim().trim_end_matches(" kB").parse()?;
    let cores = std::thread::available_parallelism()?.get();
    Ok(json!({ "cores": cores, "memory_gib": (kib / 1_048_576.0 * 10.0).round() / 10.0 }))
}
