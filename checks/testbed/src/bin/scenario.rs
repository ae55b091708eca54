//! On the machine itself: plays one boot of every scenario that it is given, and prints a JSON line of each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use serde_json::json;
use testbed::scenario::{BARE, By, DEBIAN, Description, Host, NixOs, PERSON, Stage, World};

/// Play scenarios on this machine
#[derive(Parser)]
struct Arguments {
    /// The machine's life: 0 after its first boot, 1 after its second, …
    #[arg(long)]
    life: usize,
    /// The runner image as an OCI layout
    #[arg(long)]
    image: PathBuf,
    /// Where what outlives a reboot is kept
    #[arg(long, default_value = "/root/world")]
    world: PathBuf,
    /// The machine's configuration declares its runners
    #[arg(long)]
    nixos: bool,
    /// Leave out the long ones, with a line that says so
    #[arg(long)]
    short: bool,
    /// Only with this engine
    #[arg(long)]
    engine: Option<String>,
    /// The scenarios' files
    files: Vec<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    // GitHub's runner on a machine that has no other one.
    if let Some(code) = simulator::runner::called() {
        return Ok(code);
    }
    let arguments = Arguments::parse();
    let world = World::new(&arguments.world, &arguments.image, arguments.life)?;
    let mut all: Vec<Description> =
        arguments.files.iter().map(|file| Description::read(Path::new(file))).collect::<Result<_, _>>()?;
    let begins = |one: &Description| if arguments.nixos { 0 } else { one.first_life() };
    // Those that come back first: what begins now mints tokens.
    all.sort_by_key(begins);
    if !arguments.nixos {
        let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
        ensure!(apparmor.trim() == "Y", "this machine is to have AppArmor, as Debian's have");
    }
    let mut ok = true;
    for description in &all {
        let Some(number) = arguments.life.checked_sub(begins(description)) else { continue };
        let Some(boot) = description.boot.get(number) else { continue };
        for engine in &description.engines {
            if arguments.engine.as_ref().is_some_and(|only| only != engine) {
                continue;
            }
            if arguments.short && description.long {
                println!("{}", json!({ "name": description.name, "engine": engine, "skipped": true }));
                continue;
            }
            let host: &dyn Host = match description.by {
                By::Up => &PERSON,
                By::Host => &BARE,
                By::Service if arguments.nixos => &NixOs,
                By::Service => &DEBIAN,
            };
            let began = Instant::now();
            let mut stage = Stage::new(&world, host, &description.name, engine);
            let played = start(engine).and_then(|()| stage.play(boot));
            ok &= played.is_ok();
            let line = json!({
                "name": description.name,
                "title": description.title,
                "engine": engine,
                "boot": number,
                "boots": description.boot.len(),
                "seconds": began.elapsed().as_secs_f64(),
                "ok": played.is_ok(),
                "why": played.err().map(|why| format!("{why:#}")),
                "figures": stage.figures,
            });
            println!("{line}");
        }
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Docker's daemon, where it is needed.
fn start(engine: &str) -> anyhow::Result<()> {
    if engine == "docker" {
        let output = Command::new("systemctl").args(["enable", "--now", "docker.service"]).output()?;
        testbed::scene::succeeded(&output).context("docker")?;
    }
    Ok(())
}
