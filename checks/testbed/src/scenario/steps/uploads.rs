//! Builds on their way to a cache, a folder of the machine's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{
    scenario::Stage,
    scene::{program, succeeded},
    scripts,
};

fn key(stage: &Stage<'_>) -> PathBuf {
    stage.world.folder().join(format!("{}.cache-key", stage.name))
}

fn folder(stage: &Stage<'_>) -> PathBuf {
    Path::new("/srv/vega-cache").join(&stage.name)
}

/// Where a step says for a later one what was built; it outlives a reboot.
fn note(stage: &Stage<'_>) -> PathBuf {
    stage.world.folder().join(format!("{}.built", stage.name))
}

fn pusher(stage: &Stage<'_>) -> String {
    format!("vega-builder-{}.pusher.service", stage.name)
}

pub fn cache(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut make = Command::new(program());
    make.args(["key", "generate", "--name", &format!("{}-1", stage.name), "--out"]).arg(key(stage));
    succeeded(&make.output()?)?;
    stage.settings.extend([
        ("VEGA_BUILDER_CACHE_TO", format!("file://{}", folder(stage).display())),
        ("VEGA_BUILDER_CACHE_KEY", key(stage).display().to_string()),
        // Nobody is upstream where nobody can be reached.
        ("VEGA_BUILDER_CACHE_UPSTREAMS", "http://127.0.0.1:9".to_owned()),
    ]);
    Ok(())
}

/// What a job builds; its store path.
fn build(stage: &Stage<'_>) -> anyhow::Result<String> {
    let salt = format!("pushed-{}", jiff::Timestamp::now().as_nanosecond());
    let outcome = stage.outcome(&scripts::sandboxed_build(&salt))?;
    let path =
        outcome.log.lines().find_map(|line| Some(line.split_once("store path: ")?.1.trim().to_owned()));
    path.with_context(|| format!("{outcome:?}"))
}

fn narinfo(stage: &Stage<'_>, path: &str) -> PathBuf {
    folder(stage).join(format!("{}.narinfo", &path.trim_start_matches("/nix/store/")[..32]))
}

fn uploads(stage: &Stage<'_>) -> anyhow::Result<Value> {
    let output = stage.run(&["status", &stage.name, "--output", "json"])?;
    let all: Value = serde_json::from_slice(&output.stdout)?;
    Ok(all[0]["uploads"].clone())
}

fn is_there(stage: &Stage<'_>, path: &str) -> anyhow::Result<()> {
    let why = || format!("{path} is not in the cache; {:?}", uploads(stage));
    stage.until("not pushed", || narinfo(stage, path).exists()).with_context(why)?;
    let text = fs::read_to_string(narinfo(stage, path))?;
    ensure!(text.contains(&format!("Sig: {}-1:", stage.name)), "{text}");
    stage.until("the queue is not empty", || uploads(stage).is_ok_and(|uploads| uploads["waiting"] == 0))?;
    let public = fs::read_to_string(key(stage).with_extension("cache-key.pub"))?;
    let asked = stage.run(&["provenance", path, "--key", public.trim(), "--output", "json"])?;
    let statement: Value = serde_json::from_str(&succeeded(&asked)?)?;
    let repository = statement.pointer("/predicate/buildDefinition/externalParameters/repository");
    ensure!(repository == Some(&Value::from(stage.repository.as_str())), "{statement}");
    let sandbox = statement.pointer("/predicate/buildDefinition/internalParameters/sandbox");
    ensure!(sandbox == Some(&Value::from(true)), "{statement}");
    Ok(())
}

pub fn pushed(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let path = build(stage)?;
    is_there(stage, &path)
}

/// The pusher is ended by hand; `status` says what to look at.
pub fn waits(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.systemctl(&["stop", &pusher(stage)])?;
    let path = build(stage)?;
    fs::write(note(stage), &path)?;
    stage.until("no build waits", || uploads(stage).is_ok_and(|uploads| uploads["runs"] == false))?;
    let said = stage.run(&["status", &stage.name])?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.contains(&format!("journalctl -u {}", pusher(stage))), "{said}");
    ensure!(!narinfo(stage, &path).exists(), "it was pushed by nobody");
    Ok(())
}

/// Whatever happened in between.
pub fn waited(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let path = fs::read_to_string(note(stage))?;
    is_there(stage, &path)
}

/// The pusher's service has the store and the queue of its own runner in sight, and its own credential; nothing of what
/// else root has here.
pub fn walls(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let show = ["show", "--value", "-p", "MainPID", &pusher(stage)];
    let output = Command::new("systemctl").args(show).output()?;
    let pid = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(pid != "0", "the pusher does not run");
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let seen = |folder: &str| -> anyhow::Result<Vec<String>> {
        let names = fs::read_dir(root.join(folder))?.flatten();
        Ok(names.map(|name| name.file_name().to_string_lossy().into_owned()).collect())
    };
    for hidden in ["root", "home", "run/vega-builder", "etc/vega-builder"] {
        ensure!(seen(hidden)?.is_empty(), "{hidden} is in sight of the pusher: {:?}", seen(hidden)?);
    }
    ensure!(seen("var/lib/vega-builder")? == [stage.name.as_str()], "{:?}", seen("var/lib/vega-builder")?);
    ensure!(!seen("var/lib")?.contains(&"dpkg".to_owned()), "{:?}", seen("var/lib")?);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).context("no CapEff")?;
    // CAP_DAC_OVERRIDE alone.
    ensure!(capabilities.trim().trim_start_matches('0') == "2", "it has {capabilities}");
    ensure!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    // And no job has the key in sight.
    if !stage.host.has_container() {
        let log = stage.outcome(LOOK_FOR_KEY)?.log;
        let found: Vec<&str> = log.lines().filter(|line| line.contains("cache-key")).collect();
        ensure!(found.is_empty(), "the key is in sight of a job: {found:?}");
        return Ok(());
    }
    let found = stage.engine.said(&["exec", "--user=0", &stage.name, "sh", "-c", LOOK_FOR_KEY])?;
    ensure!(found.is_empty(), "the key is in the runner's container: {found}");
    Ok(())
}

const LOOK_FOR_KEY: &str = "find / -xdev -name '*cache-key*' -not -path '/proc/*' 2>/dev/null; \
     grep -rls 'cache-key' /run /var/lib/vega-builder /etc/vega-builder 2>/dev/null || true";
