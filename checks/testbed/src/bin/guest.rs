//! Inside the virtual machine: `guest up` brings up a runner with podman and one with docker; after the
//! machine's reboot `guest back` sees them come back by themselves, and takes them away. `guest attacks` lets
//! hostile jobs loose on both, and looks for leaks.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use simulator::{
    github::{Job, Server},
    sigstore::Identity,
};
use testbed::{
    cgroup,
    engine::Engine,
    scene::{CAPS, LOGIN, Scene, program, succeeded},
    scripts,
    search::Search,
};

const NOT_TRUSTED: i32 = 3;
const PORT: u16 = 8090;
const ENGINES: [&str; 2] = ["podman", "docker"];
/// An emulated machine is slow.
const PATIENCE: u64 = 120;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("up") => up(),
        Some("back") => back(),
        Some("attacks") => attacks(),
        _ => anyhow::bail!("guest up, guest back, or guest attacks"),
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

/// Both engines at hand, on a machine as Debian's are.
fn prepare() -> anyhow::Result<()> {
    let started = Command::new("systemctl").args(["enable", "--now", "docker.service"]).output()?;
    succeeded(&started).context("docker")?;
    let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    ensure!(apparmor.trim() == "Y", "this machine is to have AppArmor, as Debian's have");
    Ok(())
}

fn up() -> anyhow::Result<()> {
    prepare()?;
    for engine in ENGINES {
        // One at a time: both sides of a port are the scene's own.
        let mut scene = Scene::around(github()?, engine, Path::new("/in/image"), engine)?;
        scene.patience = PATIENCE;
        let unsigned = scene.run(&["up", &scene.repository])?;
        ensure!(unsigned.status.code() == Some(NOT_TRUSTED) && !scene.engine.exists(&scene.name));
        ensure!(scene.github.minted() == minted(engine), "a token was minted for an unsigned image");
        scene.sign(&Identity::vega())?;
        // After the reboot the image is verified again, when this scene's own folder is gone.
        let root = format!("/root/trusted_root-{engine}.json");
        fs::copy(scene.trusted_root(), &root)?;
        println!("{}", scene.up(&["--trusted-root", &root])?);
        println!("{}", sandboxed(&scene.github, engine)?);
        caps_in_the_cgroup(&scene)?;
    }
    Ok(())
}

fn attacks() -> anyhow::Result<()> {
    prepare()?;
    for engine in ENGINES {
        let mut scene = Scene::around(github()?, engine, Path::new("/in/image"), engine)?;
        scene.patience = PATIENCE;
        scene.sign(&Identity::vega())?;
        // As few as an emulated processor starts in some seconds.
        scene.up(&["--pids", "200", "--memory", "512m"])?;
        println!("{}: up", scene.name);
        nothing_leaks(&scene)?;
        println!("{}: nothing leaks", scene.name);
        hostile_jobs(&scene)?;
        println!("{}", scene.down()?);
    }
    Ok(())
}

/// Tokens that were minted before this engine's turn.
fn minted(engine: &str) -> usize {
    ENGINES.iter().position(|one| *one == engine).unwrap_or_default()
}

/// Neither the registration token nor the login is where somebody of this machine, or a job, could see it. (Whole
/// file systems are searched where processors are not emulated.)
fn nothing_leaks(scene: &Scene) -> anyhow::Result<()> {
    let token = scene.github.tokens().pop().context("no token was minted")?;
    let seen = scene.job(
        "{ cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null || true; } | tr '\\0' '\\n'; \
         grep -ra . /run /tmp /home /etc/vega-builder 2>/dev/null || true",
    )?;
    ensure!(seen.contains("GITHUB_EVENT_NAME"), "the job did not see its own environment");
    for secret in [token.as_str(), LOGIN] {
        let mut search = Search::new(secret);
        search.container(&scene.engine, &scene.name)?;
        search.processes();
        search.files(Path::new("/run"));
        search.files(Path::new("/var/lib/vega-builder"));
        search.text("a job's own eyes", &seen);
        ensure!(search.seen.is_empty(), "{}: {:?}", scene.engine.program(), search.seen);
    }
    Ok(())
}

/// A job that eats memory, and one that forks, against the limits of cgroup v2: the kernel counts both.
fn hostile_jobs(scene: &Scene) -> anyhow::Result<()> {
    let pid = scene.engine.pid(&scene.name)?;
    let attack = |script: &str| {
        let job = Job::push(&scene.repository, "attack", &["self-hosted", "vega"], script);
        scene.github.wait(scene.github.enqueue(job), Duration::from_secs(2 * PATIENCE))
    };
    attack("tail /dev/zero")?;
    attack("for i in $(seq 250); do sleep 20 & done 2>/dev/null; kill $(jobs -p)")?;
    for (file, counter) in [("memory.events", "oom_kill"), ("pids.events", "max")] {
        let count = counted(&scene.engine, &scene.name, file, counter)?;
        println!("{}: {counter} of {file}: {count}", scene.name);
        ensure!(count > 0, "{file} of {} counts no {counter}", scene.name);
    }
    ensure!(scene.engine.pid(&scene.name)? == pid, "PID 1 did not survive");
    scene.until_online(true)?;
    sandboxed(&scene.github, scene.engine.program()).map(drop)
}

/// A counter of the container's own cgroup, or of the folder above its first process's.
fn counted(engine: &Engine, name: &str, file: &str, counter: &str) -> anyhow::Result<u64> {
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", engine.pid(name)?))?;
    let path = cgroup.trim().strip_prefix("0::").context("this machine has no cgroup v2")?;
    let folder = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let read = |folder: &Path| {
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(counter)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or(0)
    };
    Ok(folder.ancestors().take(2).map(read).max().unwrap_or(0))
}

/// Read what the kernel enforces, not what anybody says of it.
fn caps_in_the_cgroup(scene: &Scene) -> anyhow::Result<()> {
    let limits = cgroup::limits(scene.engine.pid(&scene.name)?)?;
    println!("{}: {limits}", scene.name);
    for (name, wanted) in CAPS {
        ensure!(limits[name] == wanted, "{name} of {} is {}, not {wanted}", scene.name, limits[name]);
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

/// The unit of podman's runner verified the image before it started it, with the signature that was kept: there is no
/// registry any more.
fn verified_before_the_start() -> anyhow::Result<()> {
    let journal = |unit: &str| -> anyhow::Result<String> {
        let output = Command::new("journalctl").args(["-b", "--no-pager", "-u", unit]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let begin = std::time::Instant::now();
    loop {
        let said = journal("vega-builder-vega-podman.service")?;
        if said.contains("with the signature that was kept") && said.contains("may start") {
            return Ok(());
        }
        ensure!(
            begin.elapsed() < Duration::from_secs(PATIENCE),
            "it was not verified before the start: {said}"
        );
        std::thread::sleep(Duration::from_secs(2));
    }
}

fn back() -> anyhow::Result<()> {
    let github = github()?;
    verified_before_the_start()?;
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
