//! What Nix calls after every build inside the runner's container.

use std::{env, path::Path, process::ExitCode};

use jiff::Timestamp;

use crate::{
    cache::queue::{Entry, Job, MOST, Put, Queue},
    contract,
    store::Configuration,
};

/// Queue a build for its upload
///
/// Nix's daemon calls this after every build that went well, as root, with the build's names in DRV_PATH and OUT_PATHS.
/// Whatever comes of it, the build has succeeded.
#[derive(Debug, clap::Args)]
pub struct Built {}

/// Where Nix looks for links that hold store paths; it takes away those that lead nowhere by itself.
const GC_ROOTS: &str = "/nix/var/nix/gcroots/auto";

impl Built {
    pub fn run(self) -> ExitCode {
        let variable = |name: &str| env::var(name).unwrap_or_default();
        let outputs: Vec<String> = variable("OUT_PATHS").split_whitespace().map(str::to_owned).collect();
        let queue = Queue::at(contract::QUEUE_MOUNT, MOST);
        let entry = Entry {
            drv: variable("DRV_PATH"),
            outputs,
            ended: Timestamp::now(),
            sandbox: Configuration::has_sandbox(),
            job: Job::read(Path::new(contract::JOB)),
        };
        match queue.put(&entry, Path::new(GC_ROOTS)) {
            Ok(Put::Queued) => {}
            Ok(Put::Dropped) => eprintln!("vega-builder: the queue is full, and this build is not pushed"),
            Err(why) => eprintln!("vega-builder: this build is not pushed: {why}"),
        }
        ExitCode::SUCCESS
    }
}
