//! `make bench`: the figures, each with what it is measured against, and a report a subject; `bench verify`, `bench lint`,
//! `bench push`, `bench up` and `bench life` measure one.

use std::{
    env, fs,
    process::{Command, ExitCode},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use testbed::{
    bench::{self, Figure},
    cosign::Cosign,
    layout,
};

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
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(("peak-memory", rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        bench::peak_memory(rest)?;
        return Ok(true);
    }
    let only = arguments.first().map(String::as_str);
    let cosign = format!("cosign {}", Cosign::Three.version()?);
    let mut ok = true;
    if only.is_none_or(|only| only == "verify") {
        let mut figures = bench::verify(&cosign)?;
        figures.extend(bench::conformance(&cosign)?);
        ok &= report("verify", &figures)?;
    }
    if only.is_none_or(|only| only == "lint") {
        ok &= report("lint", &bench::lint()?)?;
    }
    if only.is_none_or(|only| only == "push") {
        let version = Command::new("nix").arg("--version").output()?;
        let nix = format!("nix copy, {}", String::from_utf8_lossy(&version.stdout).trim());
        ok &= report("push", &bench::push(&nix)?)?;
    }
    if only.is_none_or(|only| only == "up") {
        let mut figures = bench::up(&format!("the guide's commands: podman, {cosign}"))?;
        figures.extend([bench::heavy_build()?, bench::idle_memory()?, bench::program_size()?]);
        ok &= report("up", &figures)?;
    }
    if only.is_none_or(|only| only == "life") {
        ok &= report("life", &bench::life("podman run for every job, in a loop")?)?;
    }
    Ok(ok)
}

/// Print a subject's figures and leave them for programs.
fn report(subject: &str, figures: &[Figure]) -> anyhow::Result<bool> {
    let ok = figures.iter().all(Figure::ok);
    println!("\n{:<44} {:>9} {:>9} {:>7} {:>7}", "figure", "ours", "theirs", "ratio", "bound");
    for figure in figures {
        println!("{figure}");
    }
    let report = json!({
        "ok": ok,
        "machine": machine()?,
        "figures": figures.iter().map(Figure::json).collect::<Vec<Value>>(),
        "scenarios": [],
    });
    let folder = layout::project().join("target/bench");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{subject}.json")), serde_json::to_string_pretty(&report)?)?;
    println!("the report: target/bench/{subject}.json\n");
    Ok(ok)
}

fn machine() -> anyhow::Result<Value> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).context("MemTotal")?;
    let kib: f64 = total.trim().trim_end_matches(" kB").parse()?;
    let cores = std::thread::available_parallelism()?.get();
    Ok(json!({ "cores": cores, "memory_gib": (kib / 1_048_576.0 * 10.0).round() / 10.0 }))
}
