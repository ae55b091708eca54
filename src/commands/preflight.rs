use std::{
    io,
    process::{Child, ExitCode, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::json;

use super::entrypoint::store_and_daemon;
use crate::{
    runner::{Environment, Report, user},
    secrecy,
    store::Closure,
};

/// A program that says its version is quicker.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its output; whoever asks for this is not to wait for ever for an image that is only tried.
fn ended(mut child: Child) -> io::Result<Output> {
    let until = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            let why = format!("it does not say its version within {} s", PATIENCE.as_secs());
            return Err(io::Error::other(why));
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output()
}

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
        let mut asked = user::as_runner(&environment.quarters, &listener);
        let asked = asked.arg("--version").stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = asked.spawn().and_then(ended).context("GitHub's runner")?;
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
