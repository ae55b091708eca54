//! Everything around one runner: a registry with a signed image, GitHub, and the program under test.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::fcntl::{Flock, FlockArg};
use simulator::{
    github::{Job, Outcome, Server},
    sigstore::{Authority, Identity, attach_as_cosign},
};
use tempfile::TempDir;

use crate::{engine::Engine, layout, registry::Registry, salted::salted};

/// The caps of a scene's runner unless a test gives others, as the kernel's files have them.
pub const CAPS: [(&str, u64); 4] =
    [("memory_max", 2 << 30), ("swap_max", 0), ("cpu_max", 2000), ("pids_max", 512)];
/// What the person has logged in with.
pub const LOGIN: &str = "ghp_testbedlogin0123456789abcdefghijk";
/// The image's name in the registry.
pub const IMAGE: &str = "ad-astra-computing/vega-builder";
/// What keeps the layers of the demo image in the engine, from test to test.
const LAYERS: &str = "localhost/testbed/layers:kept";

/// One runner's surroundings; all of it ends when dropped, and the runner too, where a test that failed has left it.
pub struct Scene {
    pub folder: TempDir,
    pub registry: Registry,
    pub authority: Arc<Authority>,
    pub github: Server,
    pub repository: String,
    /// The runner's and its container's.
    pub name: String,
    pub engine: Engine,
    /// What the image's tag was pushed as.
    pub digest: String,
    /// How long a runner may take to come online, in seconds.
    pub patience: u64,
}

impl Scene {
    /// The demo image, pushed and signed; `name` tells runners apart.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let scene = Self::unsigned(name, &layout::demo_image(), "podman")?;
        scene.sign(&Identity::vega())?;
        Ok(scene)
    }

    /// The same with an image of one's own, signed by nobody yet.
    pub fn unsigned(name: &str, image: &Path, engine: &str) -> anyhow::Result<Self> {
        Self::around(Server::start()?, name, image, engine)
    }

    /// The same around a GitHub that is there already.
    pub fn around(github: Server, name: &str, image: &Path, engine: &str) -> anyhow::Result<Self> {
        ensure!(image.join("index.json").exists(), "{} is missing: type `make image`", image.display());
        let folder = tempfile::tempdir()?;
        let registry = Registry::start(folder.path())?;
        let digest = registry.push(image, IMAGE, "latest")?;
        let authority = Arc::new(Authority::new()?);
        fs::write(folder.path().join("trusted_root.json"), authority.trusted_root()?)?;
        for (name, text) in authority.pem_files()? {
            fs::write(folder.path().join(name), text)?;
        }
        let repository = format!("octo-org/{name}");
        github.repository(&repository);
        github.credential(LOGIN, true);
        let engine = Engine::new(engine);
        if std::env::var_os("NEXTEST").is_some() {
            keep_layers(&engine, &registry, folder.path())?;
        }
        Ok(Self {
            patience: 60,
            folder,
            registry,
            authority,
            github,
            repository,
            name: format!("vega-{name}"),
            engine,
            digest,
        })
    }

    /// Sign what the tag names, as `identity`.
    pub fn sign(&self, identity: &Identity) -> anyhow::Result<()> {
        let bundle = self.authority.sign(&self.digest, identity)?;
        attach_as_cosign(&self.registry.address, IMAGE, &self.digest, &bundle)
    }

    /// Sign each image that the list names too, as publishers do.
    pub fn sign_platforms(&self, identity: &Identity) -> anyhow::Result<()> {
        let list = self.registry.manifest(IMAGE, &self.digest)?;
        for entry in list["manifests"].as_array().context("it is no manifest list")? {
            let digest = entry["digest"].as_str().context("an entry without a digest")?;
            let bundle = self.authority.sign(digest, identity)?;
            attach_as_cosign(&self.registry.address, IMAGE, digest, &bundle)?;
        }
        Ok(())
    }

    /// Nobody's container of this name, and nobody's record: the next test begins where this one began.
    fn leave_nothing(&self) {
        for beside in ["", ".pusher", ".before", ".next"] {
            let _ = self.engine.run(&["rm", "--force", "--volumes", &format!("{}{beside}", self.name)]);
        }
        for place in ["/var/lib/vega-builder", "/run/vega-builder"] {
            let _ = fs::remove_dir_all(Path::new(place).join(&self.name));
        }
    }

    pub fn image(&self) -> String {
        format!("{}/{IMAGE}:latest", self.registry.address)
    }

    /// The image by digest.
    pub fn pinned(&self) -> String {
        format!("{}/{IMAGE}@{}", self.registry.address, self.digest)
    }

    pub fn trusted_root(&self) -> PathBuf {
        self.folder.path().join("trusted_root.json")
    }

    /// The program, with the settings of this scene as variables.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env("GH_TOKEN", LOGIN)
            .env("VEGA_BUILDER_IMAGE", self.image())
            .env("VEGA_BUILDER_TRUSTED_ROOT", self.trusted_root())
            .env("VEGA_BUILDER_GITHUB_URL", self.github.url())
            // The simulated GitHub is on this machine's loopback.
            .env("VEGA_BUILDER_NETWORK", "host")
            .env("VEGA_BUILDER_ENGINE", self.engine.program())
            .env("VEGA_BUILDER_MEMORY", "2g")
            .env("VEGA_BUILDER_CPUS", "2")
            .env("VEGA_BUILDER_PIDS", "512");
        command
    }

    /// Run it to its end.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.command(arguments).output().context("vega-builder does not start: type `make build`")
    }

    /// `up`, which must succeed; what it said.
    pub fn up(&self, more: &[&str]) -> anyhow::Result<String> {
        let patience = self.patience.to_string();
        let mut arguments = vec!["up", self.repository.as_str(), "--output", "json", "--wait", &patience];
        arguments.extend(more);
        succeeded(&self.run(&arguments)?).with_context(|| self.engine.logs(&self.name))
    }

    pub fn down(&self) -> anyhow::Result<String> {
        succeeded(&self.run(&["down", &self.name])?)
    }

    /// Run a job's script on the runner and give its log; the job must succeed.
    pub fn job(&self, script: &str) -> anyhow::Result<String> {
        let outcome = self.outcome(script)?;
        ensure!(outcome.result == "Succeeded", "the job {}: {}", outcome.result, outcome.log);
        Ok(outcome.log)
    }

    /// Run a job's script on the runner and tell how it ended.
    pub fn outcome(&self, script: &str) -> anyhow::Result<Outcome> {
        let job = self.github.enqueue(Job::push(&self.repository, "job", &["self-hosted", "vega"], script));
        self.github
            .wait(job, Duration::from_secs(2 * self.patience))
            .with_context(|| self.engine.logs(&self.name))
    }

    /// Wait until GitHub sees the runner as online (or not).
    pub fn until_online(&self, online: bool) -> anyhow::Result<()> {
        self.github
            .until(Duration::from_secs(self.patience), || self.github.is_online(&self.name) == online)
            .with_context(|| self.engine.logs(&self.name))
    }
}

/// Of all that an image is only what is a test's own is downloaded in it: the demo image's layers stay, in an image that
/// no runner has. Those would be most of the time that tests take.
fn keep_layers(engine: &Engine, registry: &Registry, folder: &Path) -> anyhow::Result<()> {
    if engine.program() != "podman" {
        return Ok(());
    }
    // One alone: podman may lose what two pull at a time.
    let lock = File::create(std::env::temp_dir().join("vega-builder-testbed-layers"))?;
    let _alone = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, why)| why)?;
    if engine.run(&["image", "exists", LAYERS])?.status.success() {
        return Ok(());
    }
    let (layout, _) = salted(&layout::demo_image(), folder, "layers")?;
    registry.push(&layout, IMAGE, "layers")?;
    let pushed = format!("{}/{IMAGE}:layers", registry.address);
    engine.said(&["pull", "--quiet", "--tls-verify=false", &pushed])?;
    engine.said(&["tag", &pushed, LAYERS])?;
    engine.said(&["untag", &pushed, &pushed]).map(drop)
}

impl Drop for Scene {
    fn drop(&mut self) {
        let has_record = Path::new("/var/lib/vega-builder").join(&self.name).exists();
        if has_record || self.engine.exists(&self.name) {
            self.leave_nothing();
        }
    }
}

/// The output of a command that must succeed.
pub fn succeeded(output: &Output) -> anyhow::Result<String> {
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    Ok(said.into_owned())
}

/// The release build that is shipped; inside a virtual machine, the one that was brought along.
pub fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("VEGA_TESTBED_PROGRAM") {
        return program.into();
    }
    let target = format!("target/{}-unknown-linux-musl/release/vega-builder", std::env::consts::ARCH);
    layout::project().join(target)
}
