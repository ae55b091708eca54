//! Inside the virtual machine: `guest up` brings up a runner with podman and one with docker; after the
//! machine's reboot `guest back` sees them come back by themselves, and takes them away.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use simulator::{
    github::{Job, Server},
    sigstore::Identity,
};
use testbed::{
    engine::Engine,
    scene::{LOGIN, Scene, program, succeeded},
    scripts,
};

const PORT: u16 = 8090;
const ENGINES: [&str; 2] = ["podman", "docker"];
/// An emulated machine is slow.
const PATIENCE: u64 = 120;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("up") => up(),
        Some("back") => back(),
        _ => anyhow::bail!("guest up, or guest back"),
    }
}

fn github() -> anyhow::Result<Server> {
    let github = Server::start_at(PORT, Some("/root/github.json".into()))?;
    github.credential(LOGIN, true);
    for engine in ENGINES {
        github.repository(&format!("octo-org/{engine}"));
    }
    Ok(github)
}

fn up() -> anyhow::Result<()> {
    let started = Command::new("systemctl").args(["enable", "--now", "docker.service"]).output()?;
    succeeded(&started).context("docker")?;
    for engine in ENGINES {
        // One at a time: both sides of a port are the scene's own.
        let mut scene = Scene::around(github()?, engine, Path::new("/in/image"), engine)?;
        scene.patience = PATIENCE;
        scene.sign(&Identity::vega())?;
        println!("{}", scene.up(&[])?);
        println!("{}", sandboxed(&scene.github, engine)?);
        caps_in_the_cgroup(&scene)?;
    }
    Ok(())
}

/// Read what the kernel enforces, not what anybody says of it.
fn caps_in_the_cgroup(scene: &Scene) -> anyhow::Result<()> {
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", scene.engine.pid(&scene.name)?))?;
    let path = cgroup.trim().strip_prefix("0::").context("this machine has no cgroup v2")?;
    // PID 1 may have a group of its own below the container's.
    for (file, wanted) in [
        ("memory.max", "2147483648"),
        ("memory.swap.max", "0"),
        ("cpu.max", "200000 100000"),
        ("pids.max", "512"),
    ] {
        let mut folder = Some(Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')));
        let mut found = None;
        while let Some(here) = folder {
            let value = fs::read_to_string(here.join(file)).unwrap_or_default().trim().to_owned();
            if !value.is_empty() && !value.starts_with("max") {
                found = Some(value);
                break;
            }
            folder = here.parent().map(Path::to_owned);
        }
        ensure!(found.as_deref() == Some(wanted), "{file} of {}: {found:?}", scene.name);
        println!("{}: {file} is {wanted}", scene.name);
    }
    Ok(())
}

fn sandboxed(github: &Server, engine: &str) -> anyhow::Result<String> {
    let script = scripts::sandboxed_build(&jiff::Timestamp::now().as_nanosecond().to_string());
    let job = Job::push(&format!("octo-org/{engine}"), "build", &["self-hosted", "vega"], &script);
    let outcome = github.wait(github.enqueue(job), Duration::from_secs(PATIENCE))?;
    ensure!(outcome.log.contains("sandbox: sandboxed"), "{engine}: {outcome:?}");
    Ok(outcome.log)
}

fn back() -> anyhow::Result<()> {
    let github = github()?;
    for engine in ENGINES {
        let name = format!("vega-{engine}");
        github
            .until(Duration::from_secs(PATIENCE), || github.is_online(&name))
            .with_context(|| format!("{name} did not come back: {}", Engine::new(engine).logs(&name)))?;
        println!("{name} is back");
        sandboxed(&github, engine)?;
    }
    ensure!(github.minted() == ENGINES.len(), "{} tokens were minted", github.minted());
    for engine in ENGINES {
        let name = format!("vega-{engine}");
        let output = Command::new(program()).args(["down", &name]).env("GH_TOKEN", LOGIN).output()?;
        println!("{}", succeeded(&output)?);
        let engine = Engine::new(engine);
        ensure!(!engine.exists(&name), "{name} is still there");
        ensure!(
            !engine.volumes()?.iter().any(|volume| volume.starts_with(&name)),
            "a volume of {name} is left"
        );
    }
    for place in ["/etc/systemd/system", "/etc/tmpfiles.d", "/var/lib/vega-builder", "/run/vega-builder"] {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            ensure!(!name.contains("vega-podman") && !name.contains("vega-docker"), "{place}/{name} is left");
        }
    }
    ensure!(github.runners().is_empty(), "runners are left at GitHub");
    Ok(())
}
