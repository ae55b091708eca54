//! AppArmor's profile for containers, as podman and docker bring it, forbids every mount, and so Nix's build
//! sandbox. Whether it does here is tried, never assumed; then it is lifted for this container alone, and said
//! aloud. User namespace, capabilities, no new privileges and the seccomp profile stay.

use std::{fs, path::Path};

use crate::{
    engine::{Cli, Container, Error, Layout},
    progress::Progress,
};

const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";

fn apparmor_is_on() -> bool {
    fs::read_to_string(Path::new(ENABLED)).is_ok_and(|text| text.trim() == "Y")
}

/// Whether builds can be sandboxed in this container only without AppArmor's default profile.
pub fn must_be_lifted(engine: &Cli, container: &Container, progress: &Progress) -> Result<bool, Error> {
    // A foreign image has no program that could try.
    if !apparmor_is_on() || container.layout == Layout::Foreign {
        return Ok(false);
    }
    let step = progress.step("apparmor", "trying whether builds can be sandboxed under its profile");
    if engine.can_sandbox(container)? {
        step.done("its profile for containers lets builds be sandboxed");
        return Ok(false);
    }
    let lifted = Container { unconfined: true, ..container.clone() };
    if engine.can_sandbox(&lifted)? {
        step.done("its profile for containers forbids Nix's build sandbox: lifted for this container");
        return Ok(true);
    }
    step.done("builds cannot be sandboxed here, with its profile or without");
    Ok(false)
}
