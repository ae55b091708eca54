//! How a runner comes to a machine and goes again: the one thing in which machines differ.

use std::process::{Command, Output};

use anyhow::{Context as _, ensure};

use super::Stage;
use crate::scene::succeeded;

pub trait Host {
    /// Declare the stage's runner with this image, and wait until it listens or is refused.
    fn declare(&self, stage: &Stage<'_>, image: &str) -> anyhow::Result<Output>;
    /// What somebody types for that, where somebody types.
    fn typed(&self, _: &Stage<'_>, _: &str) -> Option<Command> {
        None
    }
    /// The verb that takes it away.
    fn goes(&self) -> &'static str {
        "down"
    }
    /// Take it away, with all that is its own.
    fn take_away(&self, stage: &Stage<'_>) -> anyhow::Result<()>;
    /// Whether the runner's files are this machine's to judge.
    fn has_files(&self) -> bool {
        true
    }
    /// Whether a unit of its own is up while it listens.
    fn has_unit(&self) -> bool {
        true
    }
    /// Whether it lives in a container.
    fn has_container(&self) -> bool {
        true
    }
}

/// Where a person types one verb for it to come, and another for it to go.
pub struct Typed {
    comes: &'static [&'static str],
    goes: &'static str,
    has_unit: bool,
    has_container: bool,
}

/// Any systemd host without NixOS.
pub const DEBIAN: Typed =
    Typed { comes: &["install"], goes: "uninstall", has_unit: true, has_container: true };

/// Somebody who wants no unit: the engine starts it, and at boot a unit that has then done its work.
pub const PERSON: Typed = Typed { comes: &["up"], goes: "down", has_unit: false, has_container: true };

/// Who has Nix on the machine, and wants no container.
pub const BARE: Typed =
    Typed { comes: &["up", "--host"], goes: "down", has_unit: true, has_container: false };

impl Host for Typed {
    fn declare(&self, stage: &Stage<'_>, image: &str) -> anyhow::Result<Output> {
        Ok(self.typed(stage, image).context("nobody types")?.output()?)
    }

    fn typed(&self, stage: &Stage<'_>, image: &str) -> Option<Command> {
        let more = [&stage.repository, "--name", &stage.name, "--output", "json", "--wait", "240"];
        let mut command = stage.command(&[self.comes, &more].concat());
        command.env("VEGA_BUILDER_IMAGE", image);
        Some(command)
    }

    fn goes(&self) -> &'static str {
        self.goes
    }

    fn take_away(&self, stage: &Stage<'_>) -> anyhow::Result<()> {
        succeeded(&stage.run(&[self.goes, &stage.name, "--keep-image"])?).map(drop)
    }

    fn has_unit(&self) -> bool {
        self.has_unit
    }

    fn has_container(&self) -> bool {
        self.has_container
    }
}

/// NixOS: its configuration has declared the runner already, and has specialisations for other images.
pub struct NixOs;

impl NixOs {
    /// The configuration that declares this image (the tag's last part is its name).
    fn switch(image: &str) -> anyhow::Result<Output> {
        let kind = image.rsplit('-').next().unwrap_or_default();
        let system = match kind {
            "next" | "unsigned" | "without" => format!("/run/booted-system/specialisation/{kind}"),
            _ => "/run/booted-system".to_owned(),
        };
        Ok(Command::new(format!("{system}/bin/switch-to-configuration")).arg("test").output()?)
    }
}

impl Host for NixOs {
    fn declare(&self, stage: &Stage<'_>, image: &str) -> anyhow::Result<Output> {
        let switched = Self::switch(image)?;
        if !switched.status.success() || stage.unit("ActiveState")? == "active" {
            return Ok(switched);
        }
        stage.run(&["register", &stage.name])
    }

    fn take_away(&self, stage: &Stage<'_>) -> anyhow::Result<()> {
        let switched = Self::switch("-without")?;
        ensure!(switched.status.success(), "{}", String::from_utf8_lossy(&switched.stderr));
        succeeded(&stage.run(&["down", &stage.name, "--keep-image"])?).map(drop)
    }

    fn has_files(&self) -> bool {
        false
    }
}
