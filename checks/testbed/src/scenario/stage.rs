use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use simulator::github::{Job, Outcome};

use super::{Boot, Host, World, steps};
use crate::{
    engine::Engine,
    scene::{LOGIN, program},
};

/// An emulated machine is slow.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// As the kernel's files have them.
pub const CAPS: [(&str, u64); 4] =
    [("memory_max", 768 << 20), ("swap_max", 0), ("cpu_max", 1500), ("pids_max", 256)];

/// One runner on its way through a scenario.
pub struct Stage<'a> {
    pub world: &'a World,
    pub host: &'a dyn Host,
    pub engine: Engine,
    pub repository: String,
    pub name: String,
    /// Tokens that were minted when it began.
    pub minted: usize,
    /// The job that runs.
    pub job: Option<u64>,
    /// Settings of this runner beside those of all, as variables.
    pub settings: Vec<(&'static str, String)>,
    /// What a step measured, with its name.
    pub figures: Vec<(String, f64)>,
    began: Instant,
}

impl<'a> Stage<'a> {
    pub fn new(world: &'a World, host: &'a dyn Host, scenario: &str, engine: &str) -> Self {
        let is_told = engine == "podman" || scenario.ends_with(engine);
        let name = if is_told { scenario.to_owned() } else { format!("{scenario}-{engine}") };
        let repository = format!("octo-org/{name}");
        world.github.repository(&repository);
        Self {
            world,
            host,
            engine: Engine::new(engine),
            repository,
            name: format!("vega-{name}"),
            minted: world.github.minted(),
            job: None,
            settings: Vec::new(),
            figures: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Another runner beside this one.
    #[must_use]
    pub fn second(&self) -> Self {
        let scenario = format!("{}-2", self.name.trim_start_matches("vega-"));
        Self::new(self.world, self.host, &scenario, self.engine.program())
    }

    /// Play one boot's steps.
    pub fn play(&mut self, boot: &Boot) -> anyhow::Result<()> {
        boot.steps.iter().try_for_each(|step| self.step(step))
    }

    pub fn step(&mut self, step: &str) -> anyhow::Result<()> {
        let play = steps::named(step).with_context(|| format!("there is no step '{step}'"))?;
        tell(&format!("{}: after {} s: {step}", self.name, self.began.elapsed().as_secs()));
        play(self).with_context(|| format!("{step}; {}", self.told()))
    }

    /// What unit and container last said, for a failure.
    fn told(&self) -> String {
        let output = Command::new("journalctl")
            .args(["-b", "--no-pager", "-o", "cat", "-n", "40", "-u", &self.service()])
            .args(["-u", &format!("vega-builder-{}.pusher.service", self.name)])
            .output();
        let journal = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        format!("the journal of {}:\n{}", self.service(), journal.unwrap_or_default())
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env("GH_TOKEN", LOGIN)
            .env("VEGA_BUILDER_TRUSTED_ROOT", self.world.trusted_root())
            .env("VEGA_BUILDER_GITHUB_URL", self.world.github.url())
            .env("VEGA_BUILDER_ENGINE", self.engine.program())
            .env("VEGA_BUILDER_MEMORY", "768m")
            .env("VEGA_BUILDER_CPUS", "1.5")
            .env("VEGA_BUILDER_PIDS", "256")
            // The simulated GitHub is on this machine's loopback.
            .envs(self.host.has_container().then_some(("VEGA_BUILDER_NETWORK", "host")))
            .envs(self.settings.iter().map(|(name, value)| (*name, value)));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    pub fn service(&self) -> String {
        format!("vega-builder-{}.service", self.name)
    }

    pub fn handover(&self) -> PathBuf {
        format!("/run/vega-builder/{}", self.name).into()
    }

    /// A property of the runner's unit.
    pub fn unit(&self, property: &str) -> anyhow::Result<String> {
        let output =
            Command::new("systemctl").args(["show", "--value", "-p", property, &self.service()]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// systemctl, which must succeed.
    pub fn systemctl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::new("systemctl").args(arguments).output()?;
        ensure!(
            output.status.success(),
            "systemctl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// What the unit wrote to the journal in this boot.
    pub fn journal(&self) -> anyhow::Result<String> {
        let output = Command::new("journalctl")
            .args(["-b", "--no-pager", "-o", "cat", "-u", &self.service()])
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub fn until(&self, what: &str, so: impl Fn() -> bool) -> anyhow::Result<()> {
        self.world.github.until(PATIENCE, so).with_context(|| what.to_owned())
    }

    /// Whether every job has a container of its own.
    pub fn is_ephemeral(&self) -> bool {
        self.settings.iter().any(|(name, _)| *name == "VEGA_BUILDER_EPHEMERAL")
    }

    /// The runner's container; of an ephemeral one that of the job that is connected, which is its runner's name too.
    pub fn container(&self) -> String {
        let prefix = format!("{}.job-", self.name);
        let runners = self.world.github.runners().into_iter().map(|runner| runner.name);
        let mut jobs = runners.filter(|name| name.starts_with(&prefix) && self.world.github.is_online(name));
        jobs.next().unwrap_or_else(|| self.name.clone())
    }

    /// The supervisor, as this machine numbers it.
    pub fn pid(&self) -> anyhow::Result<u32> {
        if self.host.has_container() {
            self.engine.pid(&self.container())
        } else {
            Ok(self.unit("MainPID")?.parse()?)
        }
    }

    pub fn until_online(&self) -> anyhow::Result<()> {
        let listens = || {
            let state = fs::read_to_string(self.handover().join("state.json")).unwrap_or_default();
            state.contains("\"listening\"") && !state.contains("draining")
        };
        self.until("it is not online", || self.world.github.is_online(&self.container()) && listens())
    }

    pub fn enqueue(&self, script: &str) -> u64 {
        self.world.github.enqueue(Job::push(&self.repository, "job", &["self-hosted", "vega"], script))
    }

    /// A job's end, whatever it is.
    pub fn outcome(&self, script: &str) -> anyhow::Result<Outcome> {
        self.world.github.wait(self.enqueue(script), PATIENCE)
    }
}

/// Where it has come to. The console is hung up when the machine goes down.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
