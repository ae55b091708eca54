//! `prove`: a declared runner's unit asks it once its container runs.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::steps::metadata;
use crate::{
    engine::{self, Cli, InForce, Inspected, Status},
    installation::{Installation, Places, Record},
};

/// Prove that a declared runner's container is of the verified image and under its caps
///
/// The unit's ExecStartPost. What is not as it should be is stopped at once, and the unit fails.
#[derive(Debug, clap::Args)]
pub struct Prove {
    #[arg(value_name = "NAME")]
    runner: String,
}

/// An engine that is only now making the container.
const PATIENCE: Duration = Duration::from_secs(30);

impl Prove {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let installation = Places::standard().find(Some(&self.runner))?;
        let record = installation.record()?.with_context(|| {
            format!("nothing was prepared for it: type `vega-builder prepare {}`", installation.name)
        })?;
        let engine = engine::detect(Some(&record.engine))?;
        let running = running(&engine, &installation)?;
        if let Err(error) = prove(&engine, &record, &running) {
            engine.stop(&installation.name)?;
            return Err(error);
        }
        println!(
            "vega-builder: {} runs the verified image, under its caps: {}",
            installation.name, record.caps
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn running(engine: &Cli, installation: &Installation) -> anyhow::Result<Inspected> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = engine.inspect(installation.name.as_str())?;
        if let Some(found) = found.filter(|found| found.status == Status::Running && found.pid != 0) {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < until, "{} does not run", installation.name);
        thread::sleep(Duration::from_millis(100));
    }
}

/// Its image, and its caps as the kernel has them.
pub fn prove(engine: &Cli, record: &Record, running: &Inspected) -> anyhow::Result<()> {
    let pinned = format!("{}@{}", record.image, record.digest);
    metadata::deny_running(&record.identity.name, running.pid);
    engine.expect_container(&running.image_id, &record.local_id, pinned)?;
    Ok(InForce::of(running.pid)?.prove(&record.caps)?)
}
