//! A heavy, sandboxed build by a job in the runner, against this machine's own Nix.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use simulator::github::Job;

use super::figure::{Figure, Pair};
use crate::{
    heavy,
    scene::{Scene, succeeded},
};

const BUILDS: usize = 5;

/// The same heavy, sandboxed build by a job in the runner and by this machine's own Nix.
pub fn heavy_build() -> anyhow::Result<Figure> {
    let scene = Scene::new("bench-heavy")?;
    // No cap may bind: what is measured is the cost of being inside.
    let cpus = std::thread::available_parallelism()?.get().to_string();
    scene.up(&["--memory", "6g", "--cpus", &cpus, "--pids", "2048", "--cores", &cpus, "--max-jobs", "1"])?;
    let sources = scene.folder.path().join("heavy");
    heavy::write(&sources)?;
    let archive = scene.folder.path().join("heavy.tar");
    let packed = Command::new("tar").arg("-C").arg(&sources).arg("-cf").arg(&archive).arg(".").status()?;
    ensure!(packed.success(), "tar failed");
    let pid = scene.engine.pid(&scene.name)?;
    let inside = format!("/proc/{pid}/root/tmp/heavy.tar");
    fs::copy(&archive, &inside)?;
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o644))?;
    let host = HostNix::new(&scene)?;
    // Once before it counts: the sources come into both stores.
    in_runner(&scene, BUILDS)?;
    host.build(&sources, BUILDS, &cpus)?;
    let pair =
        Pair::rounds(BUILDS, |round| in_runner(&scene, round), |round| host.build(&sources, round, &cpus))?;
    scene.down()?;
    Ok(pair.figure("heavy sandboxed nix build in the runner", "the host's own nix", 1.05))
}

fn in_runner(scene: &Scene, round: usize) -> anyhow::Result<f64> {
    let script = format!(
        "mkdir /tmp/heavy && tar -C /tmp/heavy -xf /tmp/heavy.tar --no-same-owner; \
         begin=$(date +%s.%N); nix-build --no-out-link --option substitute false /tmp/heavy/default.nix \
         --argstr salt round-{round} >/dev/null; echo seconds $begin $(date +%s.%N)"
    );
    let job = scene.github.enqueue(Job::push(&scene.repository, "heavy", &["vega"], &script));
    let outcome = scene.github.wait(job, Duration::from_secs(600))?;
    let line = outcome
        .log
        .lines()
        .find_map(|line| line.strip_prefix("seconds "))
        .with_context(|| outcome.log.clone())?;
    let (begin, end) = line.split_once(' ').context("two times")?;
    Ok(end.trim().parse::<f64>()? - begin.parse::<f64>()?)
}

/// This machine's Nix, with an empty store of its own under /nix, which only it sees: the machine's own stays as it is.
struct HostNix {
    configuration: std::path::PathBuf,
    store: std::path::PathBuf,
    /// Whether the mount's place was ours to make.
    made: bool,
}

const STORE_ROOT: &str = "/nix";

impl Drop for HostNix {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_dir(STORE_ROOT);
        }
    }
}

impl HostNix {
    fn new(scene: &Scene) -> anyhow::Result<Self> {
        let configuration = scene.folder.path().join("nix");
        fs::create_dir_all(&configuration)?;
        fs::write(
            configuration.join("nix.conf"),
            "sandbox = true\nsandbox-fallback = false\nsubstitute = false\nbuild-users-group =\n",
        )?;
        let store = scene.folder.path().join("host-store");
        fs::create_dir_all(&store)?;
        let made = !fs::exists(STORE_ROOT)?;
        fs::create_dir_all(STORE_ROOT)?;
        Ok(Self { configuration, store, made })
    }

    /// A command that finds this store under /nix.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", "mount --bind \"$0\" /nix && exec \"$@\""])
            .arg(&self.store)
            .arg(program)
            .env("NIX_REMOTE", "local")
            .env("NIX_CONF_DIR", &self.configuration);
        command
    }

    fn build(&self, sources: &std::path::Path, round: usize, cores: &str) -> anyhow::Result<f64> {
        let mut command = self.command("nix-build");
        command
            .args(["--no-out-link", "--argstr", "salt"])
            .arg(format!("host-{}-{round}", jiff::Timestamp::now().as_nanosecond()))
            .args(["--option", "cores", cores, "--option", "max-jobs", "1"])
            .arg(sources.join("default.nix"));
        let begin = Instant::now();
        let result = succeeded(&command.output()?)?;
        let seconds = begin.elapsed().as_secs_f64();
        self.command("nix-store").args(["--delete", result.trim()]).output()?;
        Ok(seconds)
    }
}
