//! What a runner costs while nothing happens, and what lies between two jobs of an ephemeral one.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::figure::{Figure, Pair, at_most};
use crate::{
    cgroup, layout,
    scene::{IMAGE, LOGIN, Scene, succeeded},
    slots::Slots,
};

/// Jobs of each side, one after the other; long enough for the next container to boot meanwhile.
const JOBS: usize = 8;
const JOB: &str = "echo begins $(date +%s%N); sleep 5; echo ends $(date +%s%N)";
/// Short jobs in a row, and after how many the first look is taken.
const MANY: usize = 200;
const SETTLED: usize = 50;
const IDLE: Duration = Duration::from_secs(60);

pub fn life(against: &str) -> anyhow::Result<Vec<Figure>> {
    let mut figures = vec![gap(against)?];
    figures.extend(idle()?);
    figures.extend(many()?);
    figures.extend(after_a_reboot()?);
    Ok(figures)
}

/// From the end of a job to the beginning of the one that waits behind it, in seconds.
fn gap(against: &str) -> anyhow::Result<Figure> {
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

/// A minute in which nothing happens.
fn idle() -> anyhow::Result<Vec<Figure>> {
    let scene = Scene::new("bench-rest")?;
    scene.up(&[])?;
    std::thread::sleep(Duration::from_secs(5));
    let pid = scene.engine.pid(&scene.name)?;
    let (before, began) = (cgroup::cpu_seconds(pid)?, Instant::now());
    std::thread::sleep(IDLE);
    let spent = (cgroup::cpu_seconds(pid)? - before) / began.elapsed().as_secs_f64() * 60.0;
    let resident = cgroup::memory_bytes(pid)?;
    scene.down()?;
    let slots_scene = Scene::new("bench-rests")?;
    let slots = Slots::start(&slots_scene, 1, "")?;
    slots.until_online(1)?;
    std::thread::sleep(Duration::from_secs(5));
    let (before, began) = (slots.cpu_seconds()?, Instant::now());
    std::thread::sleep(IDLE);
    let keeper = (slots.cpu_seconds()? - before) / began.elapsed().as_secs_f64() * 60.0;
    let keeper_resident = slots.resident()?;
    slots.end()?;
    Ok(vec![
        Figure { unit: "ms", ..at_most("idle runner's processor time, a minute", spent * 1000.0, 600.0) },
        at_most("idle runner's container, memory", resident / 1e6, 256.0),
        Figure { unit: "ms", ..at_most("keeper of idle slots, a minute", keeper * 1000.0, 600.0) },
        at_most("keeper of idle slots, resident", keeper_resident / 1e6, 40.0),
    ])
}

/// Short jobs in a row: what the last ones leave is no more than what the first ones did.
fn many() -> anyhow::Result<Vec<Figure>> {
    let scene = Scene::new("bench-many")?;
    let slots = Slots::start(&scene, 1, "")?;
    slots.until_online(1)?;
    let mut looks = BTreeMap::new();
    for number in 1..=MANY {
        slots.job("true")?;
        if number == SETTLED || number == MANY {
            // The job behind is buried beside the next one.
            slots.until_online(1)?;
            std::thread::sleep(Duration::from_secs(5));
            looks.insert(number, (slots.resident()?, disk(&scene)?, slots.volumes()?.len()));
        }
    }
    slots.end()?;
    let (first, last) = (looks[&SETTLED], looks[&MANY]);
    ensure!(last.2 <= first.2, "{} volumes after {MANY} jobs, {} after {SETTLED}", last.2, first.2);
    let against = format!("after {SETTLED}");
    let flat =
        |name, ours, theirs| Figure { name, ours, theirs, against: against.clone(), unit: "MB", bound: 1.1 };
    Ok(vec![
        flat("keeper's memory after 200 jobs", last.0 / 1e6, first.0 / 1e6),
        flat("the engine's disk after 200 jobs", last.1 / 1e6, first.1 / 1e6),
    ])
}

/// Everything that the engine has on the disk.
fn disk(scene: &Scene) -> anyhow::Result<f64> {
    let root = scene.engine.said(&["info", "--format", "{{.Store.GraphRoot}}"])?;
    let output = Command::new("du").args(["-sx", "--block-size=1", &root]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).context("du said nothing")
}

/// As the virtual machine of `make test` measured it, where that has run.
fn after_a_reboot() -> anyhow::Result<Vec<Figure>> {
    let file = layout::project().join("target/checks/scenarios.json");
    let Ok(text) = fs::read_to_string(Path::new(&file)) else {
        println!("boot to listening: not known, as `make test` has not run here");
        return Ok(Vec::new());
    };
    let told: Value = serde_json::from_str(&text)?;
    let all = told["figures"].as_array().into_iter().flatten();
    let seconds =
        all.filter(|one| one["name"].as_str().is_some_and(|name| name.starts_with("boot to listening")));
    let longest = seconds.filter_map(|one| one["ours"].as_f64()).reduce(f64::max);
    // An emulated processor takes its time; the machine's own boot is in it.
    let figure =
        |seconds| Figure { unit: "s", ..at_most("boot to listening, virtual machine", seconds, 240.0) };
    Ok(longest.map(figure).into_iter().collect())
}
