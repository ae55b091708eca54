use std::{
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use harmonia_store_core::store_path::StorePath;

use crate::{
    contract,
    runner::{Environment, stop},
    secrecy,
    store::{self, Bounds, Budget, Closure, Configuration, Reserve},
    value::ByteSize,
};

/// Fetch store paths from the caches of a runner's jobs, for the store that the next ones begin with
///
/// Run by `slots` in a one-shot container in which no job is: a job has a say in which paths are asked for, and none in
/// what is in them.
#[derive(Debug, clap::Args)]
pub struct Fill {
    /// What is not there after so many seconds is left to another time
    #[arg(long, value_name = "SECONDS")]
    within: u64,
}

impl Fill {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        secrecy::harden();
        stop::listen()?;
        let environment = Environment::read(|name| std::env::var(name).ok())?;
        let wanted = fs::read_to_string(contract::WANTED).context(contract::WANTED)?;
        let wanted: Vec<StorePath> = wanted.lines().filter_map(|line| line.parse().ok()).collect();
        let configuration = Configuration {
            sandbox: "true",
            fallback: false,
            max_jobs: 0,
            cores: 0,
            extra_substituters: environment.extra_substituters,
            extra_trusted_public_keys: environment.extra_trusted_public_keys,
            queues: false,
            // Collected garbage would be what other jobs' stores rest on.
            reserve: Reserve::of(Some(ByteSize(0))),
            user: environment.quarters.user,
            on_host: None,
        };
        configuration.write()?;
        Closure::of_image(|name| std::env::var(name).ok())?.register()?;
        let bounds = Bounds {
            budget: Budget::of(environment.disk)?,
            // A job is to find room beside it.
            reserve: Reserve::of_job(
                environment.min_free,
                environment.disk,
                Path::new(contract::STORE_MOUNT),
            ),
            until: Instant::now() + Duration::from_secs(self.within),
        };
        let filled = store::fill(&wanted, &bounds)?;
        store::sync()?;
        println!("{}", serde_json::to_string(&filled)?);
        Ok(ExitCode::SUCCESS)
    }
}
