use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::entrypoint::store_and_daemon;
use crate::{
    runner::{Environment, Report, user},
    secrecy,
    store::Closure,
};

/// Prove in a container of its own that an image would work here, without a registration
///
/// Its closure is whole, a real build runs in the sandbox that is asked for, and GitHub's runner can be executed.
/// `update` asks it before it touches the runner that works.
#[derive(Debug, clap::Args)]
pub struct Preflight {}

impl Preflight {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        secrecy::harden();
        let environment = Environment::read(|name| std::env::var(name).ok())?;
        let closure = Closure::of_image(|name| std::env::var(name).ok())?;
        let (daemon, _) = store_and_daemon(&closure, &environment, &mut Report::new())?;
        daemon.stop();
        let listener = closure.runner().join("bin/Runner.Listener");
        let output = user::as_runner(&environment.quarters, &listener)
            .arg("--version")
            .output()
            .context("GitHub's runner")?;
        anyhow::ensure!(
            output.status.success(),
            "GitHub's runner cannot be executed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        println!("{}", json!({ "runner_version": version }));
        Ok(ExitCode::SUCCESS)
    }
}
