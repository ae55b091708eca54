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
use testbed::scenario::{BARE, By, DEBIAN, Description, Host, NixOs, PERSON, Stage, Then, World, tell};

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
    let (mut ok, mut at_work) = (true, Vec::new());
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
            let result = start(engine).and_then(|()| stage.play(boot));
            let played = Played { description, engine, number, seconds: began.elapsed().as_secs_f64() };
            if result.is_ok() && boot.then == Some(Then::RebootAtWork) {
                at_work.push((played, stage));
                continue;
            }
            ok &= result.is_ok();
            played.tell(&result, &stage);
        }
    }
    // NixOS's test ends this before the machine.
    if arguments.nixos {
        for (played, stage) in at_work.drain(..) {
            played.tell(&Ok(()), &stage);
        }
    }
    ok &= go_down(at_work)?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One boot of one scenario.
struct Played<'a> {
    description: &'a Description,
    engine: &'a str,
    number: usize,
    seconds: f64,
}

impl Played<'_> {
    fn tell(&self, result: &anyhow::Result<()>, stage: &Stage<'_>) {
        let line = json!({
            "name": self.description.name,
            "title": self.description.title,
            "engine": self.engine,
            "boot": self.number,
            "boots": self.description.boot.len(),
            "seconds": self.seconds,
            "ok": result.is_ok(),
            "why": result.as_ref().err().map(|why| format!("{why:#}")),
            "figures": stage.figures,
        });
        println!("{line}");
    }
}

/// The machine goes down while these work: each job is to end as if it did not. Whether all did.
fn go_down(mut at_work: Vec<(Played<'_>, Stage<'_>)>) -> anyhow::Result<bool> {
    if at_work.is_empty() {
        return Ok(true);
    }
    let mut ok = true;
    at_work.retain_mut(|(played, stage)| {
        let result = stage.step("busy");
        if result.is_err() {
            ok = false;
            played.tell(&result, stage);
        }
        result.is_ok()
    });
    tell("the machine goes down");
    let output = Command::new("systemctl").args(["reboot", "--no-block"]).output()?;
    testbed::scene::succeeded(&output)?;
    for (played, mut stage) in at_work {
        let result = stage.step("the job succeeded");
        ok &= result.is_ok();
        played.tell(&result, &stage);
    }
    Ok(ok)
}

/// Docker's daemon, where it is needed.
fn start(engine: &str) -> anyhow::Result<()> {
    if engine == "docker" {
        let output = Command::new("systemctl").args(["enable", "--now", "docker.service"]).output()?;
        testbed::scene::succeeded(&output).context("docker")?;
    }
    Ok(())
}
