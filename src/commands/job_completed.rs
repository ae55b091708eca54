use std::{
    fs,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::describe_builds::Waiting;
use crate::contract;

/// Wait until the builds of the job that ends are in the cache
///
/// The runner calls this after a job's last step, as its unprivileged user. A cache that takes nothing makes the job late,
/// and does not fail it: its builds stay in the queue.
#[derive(Debug, clap::Args)]
pub struct JobCompleted {}

/// Nobody waits longer for a cache that is away.
const PATIENCE: Duration = Duration::from_secs(1800);
const TICK: Duration = Duration::from_millis(100);
/// What is written less often than that is written by nobody.
const SILENCE: Duration = Duration::from_secs(60);

impl JobCompleted {
    pub fn run(self) -> ExitCode {
        let (asked, began) = (Timestamp::now(), Instant::now());
        let mut told = 0;
        loop {
            match waiting().filter(|waiting| waiting.at > asked) {
                Some(Waiting { builds: 0, .. }) => return ExitCode::SUCCESS,
                Some(Waiting { builds, .. }) if builds != told => {
                    println!("{builds} builds are on their way to the cache");
                    told = builds;
                }
                None if began.elapsed() > SILENCE => break,
                _ => {}
            }
            if began.elapsed() > PATIENCE {
                break;
            }
            thread::sleep(TICK);
        }
        println!(
            "::warning title=vega-builder::this job's builds are not in the cache yet; they stay queued, and \
             `vega-builder status` on the host says why"
        );
        ExitCode::SUCCESS
    }
}

fn waiting() -> Option<Waiting> {
    serde_json::from_slice(&fs::read(contract::UPLOADS).ok()?).ok()
}
