//! What lies between two jobs of an ephemeral runner, and of what people write instead.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;

use super::super::figure::{Figure, Pair};
use crate::{
    scene::{IMAGE, LOGIN, Scene, succeeded},
    slots::Slots,
};

/// Jobs of each side, one after the other; long enough for the next container to boot meanwhile.
const JOBS: usize = 8;
const JOB: &str = "echo begins $(date +%s%N); sleep 5; echo ends $(date +%s%N)";

/// From the end of a job to the beginning of the one that waits behind it, in seconds.
pub fn gap(against: &str) -> anyhow::Result<Figure> {
    let scene = Scene::new("bench-slots")?;
    let slots = Slots::start(&scene, 1, "")?;
    slots.until_online(1)?;
    let ours = between(&queued(&slots)?);
    slots.end()?;
    let scene = Scene::new("bench-loop")?;
    // The loop has the image from the start; ours found it in the registry just now.
    scene.engine.said(&["pull", "--quiet", "--tls-verify=false", &scene.pinned()])?;
    let creating = Creating::start(&scene)?;
    let theirs = between(&queued_at(&scene)?);
    drop(creating);
    let mut pairs = ours.into_iter().zip(theirs);
    let mut next = pairs.clone();
    Ok(Pair::rounds(
        JOBS - 1,
        |_| next.next().map(|(ours, _)| ours).context("a gap is missing"),
        |_| pairs.next().map(|(_, theirs)| theirs).context("a gap is missing"),
    )?
    .figure("job to job, ephemeral", against, 0.5))
}

fn queued(slots: &Slots<'_>) -> anyhow::Result<Vec<String>> {
    let jobs: Vec<u64> = (0..JOBS).map(|_| slots.enqueue(JOB)).collect();
    jobs.into_iter().map(|job| slots.result(job)).collect()
}

fn queued_at(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let labels = ["self-hosted", "vega"];
    let push = || simulator::github::Job::push(&scene.repository, "job", &labels, JOB);
    let jobs: Vec<u64> = (0..JOBS).map(|_| scene.github.enqueue(push())).collect();
    let said = || fs::read_to_string(scene.folder.path().join("loop.log")).unwrap_or_default();
    let log = |job| Ok(scene.github.wait(job, Duration::from_secs(120)).with_context(said)?.log);
    jobs.into_iter().map(log).collect()
}

/// Seconds between one's end and the next one's beginning, from what the jobs themselves say.
fn between(logs: &[String]) -> Vec<f64> {
    let at = |log: &String, word: &str| {
        log.lines().find_map(|line| line.split(word).nth(1)?.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    let mut times: Vec<(u64, u64)> = logs.iter().map(|log| (at(log, "begins"), at(log, "ends"))).collect();
    times.sort_unstable();
    let gap = |pair: &[(u64, u64)]| Duration::from_nanos(pair[1].0.saturating_sub(pair[0].1)).as_secs_f64();
    times.windows(2).map(gap).collect()
}

/// What people write who want a fresh container for every job: ask, run, and again; with the privileges that ours have.
struct Creating<'a> {
    scene: &'a Scene,
    script: Child,
}

impl<'a> Creating<'a> {
    fn start(scene: &'a Scene) -> anyhow::Result<Self> {
        let profile = scene.folder.path().join("seccomp.json");
        fs::write(&profile, succeeded(&scene.run(&["seccomp"])?)?)?;
        let (owner, repo) = scene.repository.split_once('/').context("no owner")?;
        let hard = |limit: &str| -> anyhow::Result<String> {
            let limits = fs::read_to_string("/proc/self/limits")?;
            let line = limits.lines().find(|line| line.starts_with(limit)).context("no limit")?;
            Ok(line.split_whitespace().rev().nth(1).unwrap_or_default().replace("unlimited", "1048576"))
        };
        let capabilities: Vec<_> = "CHOWN,DAC_OVERRIDE,FOWNER,SETUID,SETGID,KILL,SYS_CHROOT,SETFCAP,SETPCAP"
            .split(',')
            .map(|capability| format!("--cap-add={capability}"))
            .collect();
        let text = format!(
            r#"set -u
number=0
while :; do
  number=$((number + 1))
  name={name}-$number
  config=$(curl -fsS -X POST -H "Authorization: Bearer $GH_TOKEN" \
    --data '{{"name": "'$name'", "runner_group_id": 1, "labels": ["self-hosted", "vega"]}}' \
    {github}/api/v3/repos/{owner}/{repo}/actions/runners/generate-jitconfig | jq -r .encoded_jit_config)
  podman run --rm --name $name --network=host --memory=1g --memory-swap=1g --cpus=2 --pids-limit=512 \
    --uidmap=0:3221225472:65536 --gidmap=0:3221225472:65536 --security-opt=no-new-privileges \
    '--security-opt=unmask=/proc/*' --security-opt=seccomp={profile} --cap-drop=all {capabilities} \
    --ulimit=nofile={nofile}:{nofile} --ulimit=nproc=32768:32768 -e VEGA_NIX_SANDBOX=true \
    -e ACTIONS_RUNNER_INPUT_JITCONFIG=$config {image}
done
"#,
            name = scene.name,
            github = scene.github.url(),
            profile = profile.display(),
            capabilities = capabilities.join(" "),
            nofile = hard("Max open files")?,
            image = format_args!("{}/{IMAGE}@{}", scene.registry.address, scene.digest),
        );
        let path = scene.folder.path().join("loop.sh");
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let log = fs::File::create(scene.folder.path().join("loop.log"))?;
        let script = Command::new("sh")
            .arg(path)
            .env("GH_TOKEN", LOGIN)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { scene, script })
    }
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
        for name in self.scene.engine.containers().unwrap_or_default() {
            if name.starts_with(&self.scene.name) {
                let _ = self.scene.engine.run(&["rm", "--force", "--time=0", "--volumes", &name]);
            }
        }
    }
}
