//! Nix's programs on the store itself, not through the daemon.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use super::Error;
use crate::runner::{children, say, user};

/// The largest closure is hashed, the largest store collected, within this.
const PATIENCE: Duration = Duration::from_secs(1800);

/// nix-store, as root; what it said.
pub fn nix_store(arguments: &[&str], input: Stdio) -> Result<String, Error> {
    // Of a long list of paths the beginning tells enough.
    let shown: Vec<&str> = arguments.iter().copied().take(3).collect();
    let mut process = user::as_root("nix-store");
    process.args(arguments).stdin(input);
    run(&mut process, &format!("nix-store {}", shown.join(" ")))
}

/// Delete what no root holds.
pub fn collect_garbage() -> Result<(), Error> {
    say("the disk is full: collecting garbage");
    run(&mut user::as_root("nix-collect-garbage"), "nix-collect-garbage").map(drop)
}

/// Run one of Nix's programs and take what it said, or the reason that it gave.
pub fn run(command: &mut Command, name: &str) -> Result<String, Error> {
    let failed = |why: String| Error::Nix { command: name.to_owned(), why };
    let output = children::output(command, PATIENCE).map_err(|why| failed(why.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(reason(&output.stderr)))
}

/// The line of an error's output that tells why.
pub fn reason(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let reason = text.lines().rev().find(|line| line.contains("error")).or(text.lines().next_back());
    reason.unwrap_or("no reason given").trim().to_owned()
}
