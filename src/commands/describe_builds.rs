//! The half of the queue that needs Nix: it runs beside the daemon, inside the runner's container.

use std::{
    fs, io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use signal_hook::{consts::SIGTERM, flag};

use crate::{
    cache::{Store, queue::Queue},
    contract,
    runner::say,
};

/// Describe the closures of builds that have ended, for the pusher
///
/// PID 1 starts it, and starts it again.
#[derive(Debug, clap::Args)]
pub struct DescribeBuilds {}

/// How often what is new is looked for.
const PAUSE: Duration = Duration::from_millis(200);
const TICK: Duration = Duration::from_millis(50);
const AFTER_A_FAULT: Duration = Duration::from_secs(5);

impl DescribeBuilds {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (queue, store) = (Queue::here(), Store::open(None));
        queue.prepare()?;
        let told = Arc::new(AtomicBool::new(false));
        flag::register(SIGTERM, told.clone())?;
        let mut pause = Duration::ZERO;
        loop {
            // Told to end, it looks once more: the last build may have just ended.
            let is_last = told.load(Ordering::Relaxed);
            if pause.is_zero() || is_last {
                pause = match queue.describe(&store, say).and_then(|_| tell(&queue)) {
                    Ok(()) => PAUSE,
                    Err(why) => {
                        say(&format!("the queue of uploads: {why}"));
                        AFTER_A_FAULT
                    }
                };
            }
            if is_last {
                return Ok(ExitCode::SUCCESS);
            }
            std::thread::sleep(TICK);
            pause = pause.saturating_sub(TICK);
        }
    }
}

/// For the hook at a job's end, which may not look into the queue.
fn tell(queue: &Queue) -> io::Result<()> {
    let text = serde_json::to_vec(&Waiting { at: Timestamp::now(), builds: queue.waiting()? })?;
    let beside = format!("{}.new", contract::UPLOADS);
    fs::write(&beside, text)?;
    fs::rename(beside, contract::UPLOADS)
}

/// How many builds waited at a time.
#[derive(Serialize, Deserialize)]
pub struct Waiting {
    pub at: Timestamp,
    pub builds: usize,
}
