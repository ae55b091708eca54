//! The proof that builds run in Nix's sandbox: a real build, whose builder looks around and tells.

use std::{fs, path::Path, process::Command};

use super::Error;
use crate::{
    contract,
    runner::{children, user},
};

const BARE: &str = "bare";
const SANDBOXED: &str = "sandboxed";

/// Build a derivation through the daemon, as a job would, and report whether it was sandboxed.
pub fn probe() -> Result<bool, Error> {
    let program = run(user::as_root("nix-store").args(["--add", contract::PROGRAM]))?;
    // Its own name each time: a result that is there already would prove nothing of today.
    let now = jiff::Timestamp::now().as_nanosecond();
    let expression = format!(
        "derivation {{ name = \"sandbox-probe-{now}\"; system = builtins.currentSystem; \
         builder = builtins.storePath \"{program}\"; args = [ \"sandbox-witness\" ]; }}"
    );
    let mut build = user::as_runner("nix-build");
    build.args(["--no-out-link", "--option", "substitute", "false", "-E", &expression]);
    let output = run(&mut build).map_err(|error| match error {
        Error::Nix { why, .. } => Error::NoSandbox(why),
        other => other,
    })?;
    let told = fs::read_to_string(&output).map_err(|why| Error::file(&output, why))?;
    Ok(told == SANDBOXED)
}

/// The builder's part: what of the container can be seen from here? In the sandbox, nothing.
pub fn witness() -> Result<(), Error> {
    let out = std::env::var_os("out").ok_or(Error::NoClosure("out"))?;
    let visible = [contract::PROGRAM, contract::JOB_STARTED_HOOK, "/home/runner", "/nix/var/nix"];
    let told = if visible.iter().any(|path| Path::new(path).exists()) { BARE } else { SANDBOXED };
    fs::write(&out, told).map_err(|why| Error::file(&out, why))
}

fn run(command: &mut Command) -> Result<String, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| Error::Nix { command: name.clone(), why };
    let output = children::output(command).map_err(|why| failed(why.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let reason = text.lines().rev().find(|line| line.contains("error")).or(text.lines().next_back());
    Err(failed(reason.unwrap_or("no reason given").trim().to_owned()))
}
