//! What stands around a runner: limits, secrets, the host.

use std::{
    cell::RefCell,
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::{
    cgroup,
    scenario::{Stage, stage::CAPS},
    scene::{LOGIN, succeeded},
    search::Search,
};

/// Read what the kernel enforces, not what anybody says of it.
pub fn caps(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let limits = cgroup::limits(stage.pid()?)?;
    for (name, wanted) in CAPS {
        ensure!(limits[name] == wanted, "{name} is {}, not {wanted}", limits[name]);
    }
    Ok(())
}

/// The second wall, and that the container is inside of it.
pub fn slice(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let slice = format!("vegabuilder_{}.slice", stage.name.replace('-', "_"));
    let folder = Path::new("/sys/fs/cgroup").join(&slice);
    let group = fs::read_to_string(format!("/proc/{}/cgroup", stage.pid()?))?;
    ensure!(group.contains(&format!("/{slice}/")), "the container is in {group}");
    let read = |file: &str| fs::read_to_string(folder.join(file)).map(|text| text.trim().to_owned());
    let (memory, swap, pids) = (read("memory.max")?, read("memory.swap.max")?, read("pids.max")?);
    // Of one slot: with room for the container that waits for its turn.
    let (spare, processes) = if stage.is_ephemeral() { (256, 64) } else { (0, 0) };
    ensure!(
        memory == ((768_u64 + 64 + spare) << 20).to_string()
            && swap == "0"
            && pids == (288 + processes).to_string(),
        "{memory} {swap} {pids}"
    );
    ensure!(read("cpu.max")? == "150000 100000", "{}", read("cpu.max")?);
    Ok(())
}

/// Neither the registration token nor the login is where somebody of this machine, or a job, could see it.
pub fn no_token(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let token = stage.world.github.tokens().pop();
    ensure!(token.is_some() || stage.is_ephemeral(), "no token was minted");
    // Where no image has brought it, the stand-in of GitHub's runner is this very program, and knows what it looks for.
    let look = "{ cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null || true; } | tr '\\0' '\\n'; \
                grep -ra --exclude='Runner.*' . /run /tmp /home 2>/dev/null || true";
    let seen = stage.outcome(look)?.log;
    ensure!(seen.contains("GITHUB_EVENT_NAME"), "the job did not see its own environment");
    for secret in token.iter().map(String::as_str).chain([LOGIN]) {
        // An ephemeral runner's container goes with its job, and another one comes.
        let search = RefCell::new(Search::new(secret));
        if stage.host.has_container() {
            stage.until("the engine tells nothing of it", || {
                search.borrow_mut().container(&stage.engine, &stage.container()).is_ok()
            })?;
        }
        let mut search = search.into_inner();
        search.text("the journal", &stage.journal()?);
        search.processes();
        for folder in
            ["/run", "/var/lib/vega-builder", "/etc/vega-builder", "/etc/systemd", "/etc/containers"]
        {
            search.files(Path::new(folder));
        }
        search.text("a job's own eyes", &seen);
        // Where systemd keeps a unit's credentials, for root alone.
        search.seen.retain(|place| !place.starts_with("/run/credentials/"));
        ensure!(search.seen.is_empty(), "{:?}", search.seen);
    }
    Ok(())
}

/// A cloud's machine, whose credentials everybody on it can ask for.
pub fn metadata_is_out_of_reach(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let address = "169.254.169.254";
    let ip = |verb: &str| {
        Command::new("ip").args(["address", verb, &format!("{address}/32"), "dev", "lo"]).output()
    };
    succeeded(&ip("add")?)?;
    let cloud = TcpListener::bind((address, 80))?;
    TcpStream::connect((address, 80)).context("whoever plays the cloud does not answer")?;
    let try_it = format!(
        "timeout 5 bash -c ': </dev/tcp/{address}/80' && echo THROUGH; timeout 5 bash -c ': </dev/tcp/127.0.0.1/8090' && echo ELSEWHERE"
    );
    let outcome = stage.outcome(&format!("set +e; {try_it}; true"))?;
    drop(cloud);
    succeeded(&ip("del")?)?;
    ensure!(outcome.log.contains("ELSEWHERE") && !outcome.log.contains("THROUGH"), "{outcome:?}");
    Ok(())
}

fn bystander_unit(stage: &Stage<'_>) -> String {
    format!("bystander-{}.service", stage.name)
}

pub fn bystander(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let unit = bystander_unit(stage);
    let output =
        Command::new("systemd-run").args(["--quiet", "--unit", &unit, "sleep", "infinity"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

pub fn bystander_lives(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let unit = bystander_unit(stage);
    stage.systemctl(&["is-active", &unit, "systemd-journald.service", "dbus.service"])?;
    stage.systemctl(&["stop", &unit])
}

/// A counter of the container's own cgroup, or of one above it.
fn counted(stage: &Stage<'_>, file: &str, counter: &str) -> anyhow::Result<u64> {
    let group = fs::read_to_string(format!("/proc/{}/cgroup", stage.pid()?))?;
    let path = group.trim().strip_prefix("0::").context("this machine has no cgroup v2")?;
    let folder = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let read = |folder: &Path| {
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(counter)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0)
    };
    Ok(folder.ancestors().take(2).map(read).max().unwrap_or(0))
}

pub fn memory_hog(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let pid = stage.pid()?;
    let outcome = stage.outcome("tail /dev/zero; echo SURVIVED $?")?;
    ensure!(!outcome.log.contains("SURVIVED 0"), "{outcome:?}");
    let kills = counted(stage, "memory.events", "oom_kill")?;
    ensure!(kills > 0, "nothing was killed");
    ensure!(stage.pid()? == pid, "PID 1 did not survive");
    // Whoever asks later is told why the job failed.
    stage.until("no event tells that it was killed", || {
        let told = stage.run(&["events", &stage.name]).and_then(|output| succeeded(&output));
        told.is_ok_and(|told| told.contains("killed at the memory cap"))
    })?;
    stage.until_online()
}

/// More processes than `--pids`; an emulated processor takes its time to start them.
pub fn fork_bomb(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let pid = stage.pid()?;
    // Forked and no more: to start a program each would take an emulated processor minutes.
    let bomb = "mkfifo /tmp/f; for i in $(seq 300); do (read -rt 200 _ <>/tmp/f) & done 2>/dev/null; kill $(jobs -p)";
    stage.outcome(bomb)?;
    ensure!(counted(stage, "pids.events", "max")? > 0, "no process was refused");
    ensure!(stage.pid()? == pid, "PID 1 did not survive");
    stage.until_online()
}

/// Each attempt tells when it comes through.
const ATTEMPTS: &str = r#"
through() { echo "THROUGH: $1"; }
cat /run/vega-builder/handover/* >/dev/null 2>&1 && through "read the handover folder"
touch /run/vega-builder/handover/x 2>/dev/null && through "write into the handover folder"
kill -9 1 2>/dev/null && through "kill PID 1"
tr '\0' '\n' </proc/1/environ 2>/dev/null | grep -q . && through "read PID 1's environment"
cat /home/runner/actions-runner/.vega/* >/dev/null 2>&1 && through "read the kept registration"
touch /home/runner/actions-runner/.runner 2>/dev/null && through "write the registration"
touch /etc/vega-builder/job-started.sh /bin/vega-builder 2>/dev/null && through "write the hook"
for socket in /run/podman/podman.sock /var/run/docker.sock /run/systemd/private /run/dbus/system_bus_socket; do
  test -e $socket && through "see $socket"
done
test -e /run/systemd/notify && echo READY=1 >/run/systemd/notify 2>/dev/null && through "write to systemd"
mount -t tmpfs none /mnt 2>/dev/null && through "mount"
echo b >/proc/sysrq-trigger 2>/dev/null && through "pull the plug"
echo x >/proc/sys/kernel/hostname 2>/dev/null && through "name the host"
echo 0 >/sys/fs/cgroup/memory.max 2>/dev/null && through "change its caps"
nsenter -t 1 -m true 2>/dev/null && through "enter PID 1's namespace"
su root -c true </dev/null 2>/dev/null && through "become root"
echo ALL TRIED
"#;

pub fn hostile_job(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let pid = stage.pid()?;
    let outcome = stage.outcome(ATTEMPTS)?;
    ensure!(outcome.log.contains("ALL TRIED"), "{outcome:?}");
    let through: Vec<&str> = outcome.log.lines().filter(|line| line.contains("THROUGH: ")).collect();
    ensure!(through.is_empty(), "{through:?}");
    // An ephemeral runner's container goes with its job.
    ensure!(stage.is_ephemeral() || stage.pid()? == pid, "PID 1 did not survive");
    stage.until_online()
}
