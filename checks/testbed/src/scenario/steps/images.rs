//! Which image runs, and who would like it to be another one.

use std::{fs, path::PathBuf, process::Command};

use anyhow::ensure;

use crate::{
    scenario::{Stage, world::Image},
    scene::succeeded,
};

/// What tells the images apart: a file that the first one has not.
fn salt(stage: &Stage<'_>) -> String {
    stage.engine.said(&["exec", &stage.name, "cat", "/etc/salt"]).unwrap_or_default()
}

pub fn runs_first(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.until_online()?;
    stage.until("it does not run the first image", || {
        stage.engine.pid(&stage.name).is_ok() && salt(stage).is_empty()
    })?;
    stage.until_online()
}

pub fn runs_next(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.until("it does not run the next image", || salt(stage) == "next")?;
    stage.until_online()
}

pub fn registry_tag_moves(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.world.push(Image::Unsigned, &stage.name).map(drop)
}

/// An image of somebody else's in this machine's engine.
fn evil(stage: &Stage<'_>) -> anyhow::Result<String> {
    let name = stage.world.push(Image::Unsigned, &format!("{}-evil", stage.name))?;
    stage.engine.said(&["pull", "--quiet", "--tls-verify=false", &name])?;
    Ok(name)
}

pub fn local_tag_moves(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let evil = evil(stage)?;
    stage.engine.said(&["tag", &evil, &format!("localhost/vega-builder:{}", stage.name)]).map(drop)
}

/// Root itself is in the way: the start is proven afterwards, and taken back.
pub fn moves_between(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let evil = evil(stage)?;
    let folder = PathBuf::from(format!("/run/systemd/system/{}.d", stage.service()));
    fs::create_dir_all(&folder)?;
    let tag = format!("podman tag {evil} localhost/vega-builder:{}", stage.name);
    let podman = stage.engine.said(&["info", "--format", "{{.Host.OCIRuntime.Path}}"]).is_ok();
    ensure!(podman, "podman does not answer");
    fs::write(folder.join("evil.conf"), format!("[Service]\nRestart=no\nExecStartPre=/bin/sh -c '{tag}'\n"))?;
    stage.systemctl(&["daemon-reload"])?;
    let restarted = stage.systemctl(&["restart", &stage.service()]);
    fs::remove_dir_all(&folder)?;
    stage.systemctl(&["daemon-reload"])?;
    ensure!(restarted.is_err(), "a swapped image was started");
    ensure!(salt(stage).is_empty() && !stage.engine.exists(&stage.name), "the swapped image runs on");
    let said = stage.journal()?;
    ensure!(said.contains("its verified manifest names"), "{said}");
    Ok(())
}

/// From the next declaration on it is updated by itself, in a window that opens three times a minute. (NixOS names the same.)
pub fn window(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    ensure!(stage.settings.is_empty(), "another step has said what there is to know");
    stage.settings.push(("VEGA_BUILDER_UPDATE_AT", "*:*:0/20".to_owned()));
    Ok(())
}

/// Nobody types a thing.
pub fn updates(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.world.push(Image::Next, &stage.name)?;
    runs_next(stage)?;
    stage.until("its update has not ended well", || update_says(stage, "vega-builder rollback"))?;
    let told = succeeded(&stage.run(&["status", &stage.name])?)?;
    ensure!(told.contains("by themselves, the next ") && !told.contains("the last one failed"), "{told}");
    Ok(())
}

/// By whoever types; the unit starts what worked before, and a job runs in it.
pub fn goes_back_by_itself(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let before = salt(stage);
    // Under the tag that the declaration names at this point.
    stage.world.push(Image::Mute, &format!("{}-next", stage.name))?;
    let output = stage.run(&["update", &stage.name, "--wait", "60"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(8), "it ends with {}: {said}", output.status);
    ensure!(said.contains("does not work here") && said.contains("is back at"), "{said}");
    ensure!(salt(stage) == before, "it runs {}", salt(stage));
    stage.until_online()
}

pub fn rolls_back(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    succeeded(&stage.run(&["rollback", &stage.name, "--wait", "240"])?)?;
    runs_first(stage)
}

pub fn leaves_alone(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.until("the timer does not say why", || update_says(stage, "somebody went back from it"))?;
    runs_first(stage)
}

/// What its unattended updates wrote to the journal.
fn update_says(stage: &Stage<'_>, words: &str) -> bool {
    let unit = format!("vega-builder-{}.update.service", stage.name);
    let told = Command::new("journalctl").args(["-b", "--no-pager", "-o", "cat", "-u", &unit]).output();
    told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).contains(words))
}
