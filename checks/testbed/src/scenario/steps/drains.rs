//! A runner that takes no jobs for a while.

use std::{thread, time::Duration};

use anyhow::ensure;
use serde_json::Value;

use crate::{scenario::Stage, scene::succeeded};

/// It ends when the running job, and its uploads, have ended.
pub fn drain(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    succeeded(&stage.run(&["drain", &stage.name])?)?;
    let pusher = format!("vega-builder-{}.pusher.service", stage.name);
    for unit in [stage.service(), pusher] {
        let show = ["show", "--value", "-p", "ActiveState", &unit];
        let output = std::process::Command::new("systemctl").args(show).output()?;
        let now = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(now == "inactive", "{unit} is {now}");
    }
    Ok(())
}

/// Nobody starts it: neither a boot, nor a person with systemctl, nor one with a token.
pub fn rests(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.systemctl(&["start", &stage.service()])?;
    let late = stage.enqueue("echo LATE");
    for verb in ["register", "prepare"] {
        let output = stage.run(&[verb, &stage.name])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(8) && said.contains("vega-builder resume"), "{verb}: {said}");
    }
    thread::sleep(Duration::from_secs(3));
    let (active, result) = (stage.unit("ActiveState")?, stage.unit("Result")?);
    ensure!(active == "inactive" && result != "start-limit-hit", "it is {active}, {result}");
    ensure!(stage.world.github.outcome(late).is_none(), "a drained runner took a job");
    ensure!(!stage.engine.exists(&stage.name), "its container is there");
    let output = stage.run(&["status", &stage.name, "--output", "json"])?;
    let all: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(output.status.code() == Some(8) && all[0]["drained"].is_string(), "{all}");
    Ok(())
}

/// It comes back with the registration that it had.
pub fn resume(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let minted = stage.world.github.minted();
    succeeded(&stage.run(&["resume", &stage.name, "--wait", "240"])?)?;
    stage.until_online()?;
    ensure!(stage.world.github.minted() == minted, "a token was minted");
    Ok(())
}
