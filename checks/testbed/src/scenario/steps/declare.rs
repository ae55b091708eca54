//! A runner comes, changes and goes.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{
    scenario::{Stage, world::Image},
    scene::succeeded,
};

const NOT_TRUSTED: i32 = 3;

/// Each image has a tag of this runner's own: one that moves is nobody else's.
fn tag(stage: &Stage<'_>, image: Image) -> String {
    let name = &stage.name;
    match image {
        Image::First => name.clone(),
        Image::Next => format!("{name}-next"),
        Image::Unsigned => format!("{name}-unsigned"),
        Image::Mute => format!("{name}-mute"),
    }
}

fn declare(stage: &Stage<'_>, image: Image) -> anyhow::Result<()> {
    let name =
        if stage.host.has_container() { stage.world.push(image, &tag(stage, image))? } else { String::new() };
    succeeded(&stage.host.declare(stage, &name)?).map(drop)
}

pub fn first(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    declare(stage, Image::First)
}

/// Whoever types it is killed now and then, in the middle of whatever it is at: it can be taken away all the same, and typed
/// again.
pub fn killed_half_way(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let image = if stage.host.has_container() {
        stage.world.push(Image::First, &tag(stage, Image::First))?
    } else {
        String::new()
    };
    for (number, seconds) in [1, 3, 5, 8, 12, 16, 20].into_iter().enumerate() {
        let mut typed = stage.host.typed(stage, &image).context("nobody types it here")?;
        let mut typed = typed.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        thread::sleep(Duration::from_secs(seconds));
        typed.kill()?;
        typed.wait()?;
        // Every other time it is gone on with.
        if number % 2 == 0 {
            let mut away = stage.run(&[stage.host.goes(), &stage.name, "--keep-image"])?;
            let mut said = String::from_utf8_lossy(&away.stderr).into_owned();
            if said.contains("has no units of ours: type `vega-builder down") {
                // It had not come that far.
                away = stage.run(&["down", &stage.name, "--keep-image"])?;
                said = String::from_utf8_lossy(&away.stderr).into_owned();
            }
            let is_nothing = said.contains("no runner is installed here")
                || said.contains("is installed here; installed:");
            ensure!(away.status.success() || is_nothing, "after {seconds} s: {said}");
            nothing_is_left(stage).with_context(|| format!("after {seconds} s"))?;
        }
    }
    Ok(())
}

pub fn next(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    declare(stage, Image::Next)
}

pub fn again(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let id = |stage: &Stage<'_>| -> anyhow::Result<Value> {
        if stage.host.has_container() {
            return stage.engine.fact(&stage.name, "/Id");
        }
        Ok(stage.unit("InvocationID")?.into())
    };
    let before = id(stage)?;
    let minted = stage.world.github.minted();
    first(stage)?;
    ensure!(id(stage)? == before, "it is another one");
    ensure!(stage.world.github.minted() == minted, "a token was minted");
    Ok(())
}

pub fn second(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    first(&mut stage.second())
}

pub fn refused(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let minted = stage.world.github.minted();
    let name = stage.world.push(Image::Unsigned, &tag(stage, Image::Unsigned))?;
    let output = stage.host.declare(stage, &name)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "an unsigned image was taken");
    if stage.host.has_files() {
        ensure!(output.status.code() == Some(NOT_TRUSTED), "{}: {said}", output.status);
        ensure!(
            said.contains("no signature") || said.contains("unsigned") || said.contains("not signed"),
            "{said}"
        );
    }
    ensure!(stage.world.github.minted() == minted, "a token was minted for an unsigned image");
    Ok(())
}

/// systemd itself and podman's generator read what was written, and its journal is what `logs` shows.
pub fn units(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.until("`logs` shows nothing of its unit", || {
        let shown = stage.run(&["logs", &stage.name, "--lines", "200"]).and_then(|output| succeeded(&output));
        shown.is_ok_and(|shown| {
            ["may start", "Listening for Jobs", "slots for"].iter().any(|it| shown.contains(it))
        })
    })?;
    let name = &stage.name;
    let service = stage.unit("FragmentPath")?;
    let pusher = format!("vega-builder-{name}.pusher.service");
    let path = format!("vega-builder-{name}.path");
    let units = [service, format!("vegabuilder_{}.slice", name.replace('-', "_"))]
        .into_iter()
        // No token comes to a runner whose jobs are registered just in time.
        .chain((!stage.is_ephemeral()).then_some(path))
        .chain(stage.settings.iter().any(|(name, _)| *name == "VEGA_BUILDER_CACHE_TO").then_some(pusher))
        .collect::<Vec<_>>();
    let output = Command::new("systemd-analyze").arg("verify").args(&units).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && !said.contains("vega"), "systemd-analyze verify: {said}");
    if stage.engine.program() == "podman"
        && stage.host.has_container()
        && stage.host.has_files()
        && !stage.is_ephemeral()
    {
        let output = Command::new("/usr/libexec/podman/quadlet").arg("-dryrun").output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "quadlet: {said}");
        ensure!(
            String::from_utf8_lossy(&output.stdout).contains(&stage.service()),
            "quadlet makes no service"
        );
        for complaint in ["unsupported", "error", "invalid"] {
            ensure!(!said.to_lowercase().contains(complaint), "quadlet: {said}");
        }
    }
    Ok(())
}

pub fn take_away(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.host.take_away(stage)?;
    nothing_is_left(stage)
}

pub fn take_second_away(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    take_away(&mut stage.second())
}

pub fn nothing_is_left(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let name = &stage.name;
    ensure!(!stage.engine.exists(name), "the container is still there");
    let is_jobs = |thing: &String| thing.starts_with(&format!("{name}.job-"));
    ensure!(!stage.engine.containers()?.iter().any(is_jobs), "{:?}", stage.engine.containers()?);
    let image = format!("localhost/vega-builder:{name}");
    let is_named = |output: Output| output.status.success();
    ensure!(!stage.engine.run(&["image", "inspect", &image]).is_ok_and(is_named), "{image} is still there");
    let volumes = stage.engine.volumes()?;
    // A second runner's name begins with the first one's.
    let ours = ["store", "runner", "queue"].map(|what| format!("{name}-{what}"));
    let is_base = |volume: &String| volume.starts_with(&format!("{name}-base-"));
    ensure!(
        !volumes.iter().any(|volume| ours.contains(volume) || is_jobs(volume) || is_base(volume)),
        "a volume is left: {volumes:?}"
    );
    let is_listed = stage.world.github.runners().iter().any(|it| it.name == *name || is_jobs(&it.name));
    ensure!(!is_listed, "GitHub still lists it");
    ensure!(stage.unit("ActiveState")? == "inactive", "the unit is {}", stage.unit("ActiveState")?);
    ensure!(!stage.engine.exists(&format!("{name}.pusher")), "the pusher is still there");
    let slice = format!("vegabuilder_{}.slice", name.replace('-', "_"));
    // Another runner's name may begin with this one's.
    let others: Vec<String> = stage.world.github.runners().into_iter().map(|runner| runner.name).collect();
    let is_ours = |file: &str| {
        let ours = file.contains(name) || file == slice;
        ours && !others.iter().any(|other| other.len() > name.len() && file.contains(other.as_str()))
    };
    for place in [
        "/etc/systemd/system",
        "/etc/containers/systemd",
        "/etc/tmpfiles.d",
        "/etc/sysusers.d",
        "/etc/vega-builder/runners",
        "/var/lib/vega-builder",
        "/run/vega-builder",
    ] {
        for entry in fs::read_dir(Path::new(place)).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            ensure!(!is_ours(&file), "{place}/{file} is left");
        }
    }
    let users = fs::read_to_string("/etc/passwd")?;
    ensure!(!users.contains(&format!("{name}:")), "the jobs' user is left");
    Ok(())
}
