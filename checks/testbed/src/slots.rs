//! An ephemeral runner in the foreground: what its unit runs, run by a test.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use simulator::github::Job;

use crate::scene::{LOGIN, Scene};

/// `vega-builder slots`, while it is kept.
pub struct Slots<'a> {
    pub scene: &'a Scene,
    keeper: Option<Child>,
    log: PathBuf,
}

/// A boot and a registration, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
const DECLARATIONS: &str = "/etc/vega-builder/runners";

impl<'a> Slots<'a> {
    /// Declare so many slots, with more lines of TOML for the sections that follow, and keep them.
    pub fn start(scene: &'a Scene, slots: u32, more: &str) -> anyhow::Result<Self> {
        declare(scene, slots, more)?;
        let log = scene.folder.path().join("slots.log");
        let mut this = Self { scene, keeper: None, log };
        this.keep()?;
        Ok(this)
    }

    /// Start the program, after it has ended or was killed.
    pub fn keep(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = self.scene.command(&["slots", &self.scene.name]);
        // As systemd hands it to a unit: a copy of what there was when it started.
        let folder = self.scene.folder.path();
        let copies = folder.join("credentials");
        fs::create_dir_all(&copies)?;
        fs::copy(token_file(self.scene), copies.join("github-token"))?;
        command.env_remove("GH_TOKEN").env("CREDENTIALS_DIRECTORY", copies).stdin(Stdio::null());
        self.keeper = Some(command.stdout(log.try_clone()?).stderr(log).spawn()?);
        Ok(())
    }

    /// What the program that keeps them has taken of the processors, with the engine's commands that it has waited for.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let keeper = self.keeper.as_ref().context("nobody keeps the slots")?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", keeper.id()))?;
        let fields: Vec<f64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(|field| field.parse().unwrap_or_default())
            .collect();
        // utime, stime, and those of children that have ended; a hundred are a second.
        Ok(fields.get(11..15).context("stat is short")?.iter().sum::<f64>() / 100.0)
    }

    /// Its resident memory, in bytes.
    pub fn resident(&self) -> anyhow::Result<f64> {
        let keeper = self.keeper.as_ref().context("nobody keeps the slots")?;
        let status = fs::read_to_string(format!("/proc/{}/status", keeper.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(kib.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let keeper = self.keeper.as_ref().context("nobody keeps the slots")?;
        Ok(kill(Pid::from_raw(i32::try_from(keeper.id())?), signal)?)
    }

    /// Wait for its end; whether it was a good one.
    pub fn ended(&mut self, patience: Duration) -> anyhow::Result<bool> {
        let mut keeper = self.keeper.take().context("nobody keeps the slots")?;
        let until = std::time::Instant::now() + patience;
        loop {
            if let Some(status) = keeper.try_wait()? {
                return Ok(status.success());
            }
            if std::time::Instant::now() > until {
                self.keeper = Some(keeper);
                anyhow::bail!("it has not ended after {} s:\n{}", patience.as_secs(), self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Have it end in good order; nothing of it is left, here or at GitHub.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)?;
        ensure!(self.ended(PATIENCE)?, "it failed:\n{}", self.log());
        let left = self.containers()?;
        ensure!(left.is_empty(), "{left:?} are left:\n{}", self.log());
        let left = self.volumes()?;
        ensure!(left.is_empty(), "{left:?} are left:\n{}", self.log());
        let listed = self.at_github();
        ensure!(listed.is_empty(), "{listed:?} are left at GitHub:\n{}", self.log());
        Ok(())
    }

    /// The names of its jobs' containers.
    pub fn containers(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.ours(self.scene.engine.containers()?))
    }

    pub fn volumes(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.ours(self.scene.engine.volumes()?))
    }

    /// What GitHub lists of them.
    pub fn at_github(&self) -> Vec<String> {
        self.ours(self.scene.github.runners().into_iter().map(|runner| runner.name).collect())
    }

    fn ours(&self, names: Vec<String>) -> Vec<String> {
        let prefix = format!("{}.job-", self.scene.name);
        names.into_iter().filter(|name| name.starts_with(&prefix)).collect()
    }

    /// Those of its runners that are online.
    pub fn online(&self) -> Vec<String> {
        self.at_github().into_iter().filter(|name| self.scene.github.is_online(name)).collect()
    }

    pub fn until(&self, what: &str, so: impl Fn() -> bool) -> anyhow::Result<()> {
        self.scene.github.until(PATIENCE, so).with_context(|| format!("{what}:\n{}", self.log()))
    }

    pub fn until_online(&self, number: usize) -> anyhow::Result<()> {
        self.until(&format!("{number} are not online"), || self.online().len() == number)
    }

    /// Queue a push's job.
    pub fn enqueue(&self, script: &str) -> u64 {
        let scene = self.scene;
        scene.github.enqueue(Job::push(&scene.repository, "job", &["self-hosted", "vega"], script))
    }

    /// Run a job to its end, which must be a good one; its log.
    pub fn job(&self, script: &str) -> anyhow::Result<String> {
        self.result(self.enqueue(script))
    }

    pub fn result(&self, job: u64) -> anyhow::Result<String> {
        let outcome = self.scene.github.wait(job, PATIENCE).with_context(|| self.log())?;
        ensure!(outcome.result == "Succeeded", "{}: {}\n{}", outcome.result, outcome.log, self.log());
        Ok(outcome.log)
    }
}

/// The file that declares the runner; `more` may begin sections of its own.
pub fn declare(scene: &Scene, slots: u32, more: &str) -> anyhow::Result<()> {
    let token = token_file(scene);
    fs::write(&token, LOGIN)?;
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600))?;
    fs::create_dir_all(DECLARATIONS)?;
    let text = format!(
        "repository = '{repository}'\nimage = '{image}'\nengine = '{engine}'\nnetwork = 'host'\nephemeral = {slots}\n\
         [caps]\nmemory = '1g'\ncpus = 2\npids = 512\n\
         [github]\nurl = '{github}'\ntoken-file = '{token}'\n\
         [trust]\ntrusted-root = '{root}'\n{more}",
        repository = scene.repository,
        image = scene.image(),
        engine = scene.engine.program(),
        github = scene.github.url(),
        token = token.display(),
        root = scene.trusted_root().display(),
    );
    Ok(fs::write(declaration(scene), text)?)
}

/// Where its credential is.
pub fn token_file(scene: &Scene) -> PathBuf {
    scene.folder.path().join("github-token")
}

pub fn declaration(scene: &Scene) -> PathBuf {
    Path::new(DECLARATIONS).join(format!("{}.toml", scene.name))
}

impl Drop for Slots<'_> {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
        for name in self.scene.engine.containers().unwrap_or_default() {
            if name.starts_with(&self.scene.name) {
                let _ = self.scene.engine.run(&["rm", "--force", "--time=0", "--volumes", &name]);
            }
        }
        for name in self.scene.engine.volumes().unwrap_or_default() {
            // What lies over another one is asked for first, or in the second round.
            if name.starts_with(&self.scene.name) {
                let _ = self.scene.engine.run(&["volume", "rm", "--force", &name]);
            }
        }
        let _ = fs::remove_file(declaration(self.scene));
        let _ = fs::remove_dir_all(Path::new("/var/lib/vega-builder").join(&self.scene.name));
        let _ = fs::remove_dir_all(Path::new("/run/vega-builder").join(&self.scene.name));
    }
}
