//! Which image runs, and who would like it to be another one.

use std::{fs, path::PathBuf};

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

/// The tag moves on, and somebody types `update`.
pub fn updates(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.world.push(Image::Next, &stage.name)?;
    let said = succeeded(&stage.run(&["update", &stage.name, "--wait", "240"])?)?;
    ensure!(said.contains("vega-builder rollback"), "{said}");
    runs_next(stage)
}

pub fn rolls_back(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    succeeded(&stage.run(&["rollback", &stage.name, "--wait", "240"])?)?;
    runs_first(stage)
}
