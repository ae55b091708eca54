//! What is measured, and against what; both sides of a pair take turns, and their medians are compared.

use std::{
    fmt, fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use simulator::{github::Job, sigstore::Identity};

use crate::{
    cosign::{self, Cosign},
    heavy,
    scene::{LOGIN, Scene, program, succeeded},
};

/// Rounds of a pair; odd, so that a median is one of them.
const WARM: usize = 15;
const COLD: usize = 5;
const BUILDS: usize = 5;

/// Seconds of both sides of a pair. They take turns in going first: who goes second finds warmer caches.
#[derive(Default)]
struct Pair {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Pair {
    fn rounds(
        count: usize,
        mut ours: impl FnMut(usize) -> anyhow::Result<f64>,
        mut theirs: impl FnMut(usize) -> anyhow::Result<f64>,
    ) -> anyhow::Result<Self> {
        let mut pair = Self::default();
        for round in 0..count {
            if round % 2 == 0 {
                pair.theirs.push(theirs(round)?);
                pair.ours.push(ours(round)?);
            } else {
                pair.ours.push(ours(round)?);
                pair.theirs.push(theirs(round)?);
            }
        }
        Ok(pair)
    }

    fn figure(self, name: &'static str, against: &str, bound: f64) -> Figure {
        let spread = [&self.ours, &self.theirs].map(|side| {
            let least = side.iter().copied().fold(f64::INFINITY, f64::min);
            let most = side.iter().copied().fold(0.0, f64::max);
            format!("{least:.3}-{most:.3}")
        });
        println!("{name}: {} rounds, ours {} s, theirs {} s", self.ours.len(), spread[0], spread[1]);
        Figure {
            name,
            ours: median(self.ours),
            theirs: median(self.theirs),
            against: against.to_owned(),
            unit: "s",
            bound,
        }
    }
}

/// One comparison.
pub struct Figure {
    name: &'static str,
    ours: f64,
    theirs: f64,
    against: String,
    unit: &'static str,
    /// The most that the ratio may be.
    bound: f64,
}

impl Figure {
    fn ratio(&self) -> f64 {
        self.ours / self.theirs
    }

    pub fn ok(&self) -> bool {
        self.ratio() <= self.bound
    }

    pub fn json(&self) -> Value {
        json!({
            "name": self.name, "ours": self.ours, "theirs": self.theirs, "against": self.against,
            "unit": self.unit, "ratio": self.ratio(), "bound": self.bound, "ok": self.ok(),
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.ok() { "" } else { "  TOO MUCH" };
        write!(
            f,
            "{:<44} {:>7.3} {} {:>7.3} {} {:>6.2} {:>6.2}  against {}{verdict}",
            self.name,
            self.ours,
            self.unit,
            self.theirs,
            self.unit,
            self.ratio(),
            self.bound,
            self.against
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `up` until its container has started, against the guide's commands as a script.
pub fn up(against: &str) -> anyhow::Result<Vec<Figure>> {
    let scene = Scene::new("bench")?;
    // podman's first digest of an image may be the platform's own.
    scene.sign_platforms(&Identity::vega())?;
    let guide = guide(&scene)?;
    // With the image present: neither side has to download.
    scene.engine.said(&["pull", "--quiet", "--tls-verify=false", &scene.image()])?;
    scene.up(&[])?;
    keep_image(&scene)?;
    let warm = Pair::rounds(
        WARM,
        |_| {
            let seconds = started(&scene)?;
            keep_image(&scene)?;
            Ok(seconds)
        },
        |_| guided(&scene, &guide),
    )?;
    let cold = Pair::rounds(
        COLD,
        |_| {
            forget_images(&scene)?;
            let seconds = started(&scene)?;
            scene.down()?;
            Ok(seconds)
        },
        |_| {
            forget_images(&scene)?;
            guided(&scene, &guide)
        },
    )?;
    Ok(vec![
        warm.figure("up to \"started\", image present", against, 0.7),
        cold.figure("up to \"started\", from nothing", against, 1.0),
    ])
}

fn keep_image(scene: &Scene) -> anyhow::Result<()> {
    succeeded(&scene.run(&["down", &scene.name, "--keep-image"])?).map(drop)
}

fn forget_images(scene: &Scene) -> anyhow::Result<()> {
    scene.engine.said(&["rmi", "--all", "--force"]).map(drop)
}

/// Seconds from the call of `up` to its container's start; the rest of it runs to its end unmeasured.
fn started(scene: &Scene) -> anyhow::Result<f64> {
    let mut up = scene.command(&["up", &scene.repository, "--output", "json", "--wait", "60"]);
    let begin = Instant::now();
    let mut child = up.stdout(Stdio::piped()).spawn()?;
    let mut seconds = None;
    for line in BufReader::new(child.stdout.take().context("stdout")?).lines() {
        if line?.contains("\"step\":\"start\"") {
            seconds.get_or_insert(begin.elapsed().as_secs_f64());
        }
    }
    ensure!(child.wait()?.success(), "up failed");
    seconds.context("up told of no start")
}

/// The guide's lines, but for the engine's name, curl in the place of `gh api`, and where things are in this testbed.
fn guide(scene: &Scene) -> anyhow::Result<std::path::PathBuf> {
    let (owner, repo) = scene.repository.split_once('/').context("no owner")?;
    let script = format!(
        r#"set -eu
podman pull --quiet --tls-verify=false {image} >/dev/null
DIGEST=$(podman inspect --format '{{{{index .RepoDigests 0}}}}' {image})
{cosign} verify "$DIGEST" --allow-http-registry --trusted-root {root} \
  --certificate-identity-regexp '{identity}' --certificate-oidc-issuer {issuer} >/dev/null
TOKEN_FILE=$(mktemp)
curl -fsS -X POST -H "Authorization: Bearer $GH_TOKEN" \
  {github}/api/v3/repos/{owner}/{repo}/actions/runners/registration-token | jq -r .token > "$TOKEN_FILE"
chmod 0400 "$TOKEN_FILE"
cid=$(podman create --restart=unless-stopped --name guide --network=host \
  --memory=2g --memory-swap=2g --cpus=2 \
  -e VEGA_MODE=runner -e GITHUB_OWNER={owner} -e GITHUB_REPOSITORY={repo} \
  -e GITHUB_RUNNER_TOKEN_FILE=/home/runner/.runner-token -e GITHUB_RUNNER_LABELS=self-hosted,vega \
  -e VEGA_GITHUB_URL={github} -e VEGA_NIX_SANDBOX=false "$DIGEST")
podman cp "$TOKEN_FILE" "$cid:/home/runner/.runner-token"
rm -f "$TOKEN_FILE"
podman start "$cid" >/dev/null
"#,
        image = scene.image(),
        cosign = Cosign::Three.program()?.display(),
        root = scene.trusted_root().display(),
        identity = cosign::IDENTITY,
        issuer = cosign::ISSUER,
        github = scene.github.url(),
    );
    let path = scene.folder.path().join("guide.sh");
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn guided(scene: &Scene, guide: &std::path::Path) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let output =
        Command::new("sh").arg(guide).envs(cosign::environment(scene)).env("GH_TOKEN", LOGIN).output()?;
    let seconds = begin.elapsed().as_secs_f64();
    succeeded(&output)?;
    for _ in 0..20 {
        if scene.engine.run(&["rm", "--force", "--volumes", "--time", "0", "guide"])?.status.success() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(seconds)
}

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

/// Resident memory of PID 1 while the runner listens.
pub fn idle_memory() -> anyhow::Result<Figure> {
    let scene = Scene::new("bench-idle")?;
    scene.up(&[])?;
    std::thread::sleep(Duration::from_secs(2));
    let status = fs::read_to_string(format!("/proc/{}/status", scene.engine.pid(&scene.name)?))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = kib.trim().trim_end_matches(" kB").parse()?;
    scene.down()?;
    Ok(at_most("entrypoint's resident memory, idle", kib * 1024.0 / 1e6, 15.0))
}

pub fn program_size() -> anyhow::Result<Figure> {
    let bytes = fs::metadata(program())?.len();
    #[expect(clippy::cast_precision_loss, reason = "megabytes need no more")]
    let megabytes = bytes as f64 / 1e6;
    Ok(at_most("release binary", megabytes, 15.0))
}

fn at_most(name: &'static str, ours: f64, most: f64) -> Figure {
    Figure { name, ours, theirs: most, against: "the bound".to_owned(), unit: "MB", bound: 1.0 }
}
