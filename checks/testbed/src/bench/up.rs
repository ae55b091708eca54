//! `up`, against the guide's commands as a script.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use simulator::sigstore::Identity;

use super::figure::{Figure, Pair};
use crate::{
    cosign::{self, Cosign},
    scene::{LOGIN, Scene, succeeded},
};

/// Rounds of a pair; odd, so that a median is one of them.
const WARM: usize = 15;
const COLD: usize = 5;

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
