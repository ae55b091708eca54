//! `prove`: a declared runner's unit asks it once its container runs.

use std::{
    path::Path,
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
const LOOK: Duration = Duration::from_millis(100);

impl Prove {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let installation = Places::standard().find(Some(&self.runner))?;
        let until = Instant::now() + PATIENCE;
        let record = loop {
            let engine = engine::detect(Some(&record(&installation)?.engine))?;
            let running = running(&engine, &installation, until)?;
            // Read once it runs: whoever puts another container in its place notes that before he starts it.
            let record = record(&installation)?;
            let Err(error) = prove(&engine, &record, &running) else { break record };
            // Whoever changes the runner may have stopped it meanwhile: what does not run is beyond no cap.
            let is_alive = Path::new(&format!("/proc/{}", running.pid)).exists();
            let is_it = |now: &Inspected| is_alive && (&now.id, now.pid) == (&running.id, running.pid);
            let is_gone = |now: Option<Inspected>| now.is_none_or(|now| !is_it(&now));
            let is_moot = engine.inspect(installation.name.as_str()).is_ok_and(is_gone);
            if !is_moot || Instant::now() >= until {
                engine.stop(&installation.name)?;
                return Err(error);
            }
            // The other one is judged by itself.
            thread::sleep(LOOK);
        };
        println!(
            "vega-builder: {} runs the verified image, under its caps: {}",
            installation.name, record.caps
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn record(installation: &Installation) -> anyhow::Result<Record> {
    installation.record()?.with_context(|| {
        format!("nothing was prepared for it: type `vega-builder prepare {}`", installation.name)
    })
}

fn running(engine: &Cli, installation: &Installation, until: Instant) -> anyhow::Result<Inspected> {
    loop {
        let found = engine.inspect(installation.name.as_str())?;
        if let Some(found) = found.filter(|found| found.status == Status::Running && found.pid != 0) {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < until, "{} does not run", installation.name);
        thread::sleep(LOOK);
    }
}

/// Its image, and its caps as the kernel has them.
pub fn prove(engine: &Cli, record: &Record, running: &Inspected) -> anyhow::Result<()> {
    let pinned = format!("{}@{}", record.image, record.digest);
    metadata::deny_running(&record.identity.name, running.pid);
    engine.expect_container(&running.image_id, &record.local_id, pinned)?;
    Ok(InForce::of(running.pid)?.prove(&record.caps)?)
}
