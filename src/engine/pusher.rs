//! The pusher's container: beside the runner's, of the same verified image, with the credential that no job may have.

use std::{fs, path::PathBuf, time::Duration};

use sha2::{Digest as _, Sha256};

use super::{
    Cli, Error, Status,
    container::{FINGERPRINT_LABEL, INSTANCE_LABEL, pusher_name, queue_volume, store_volume},
    containers::{LOG_SIZE, MISSING, ulimits},
};
use crate::{contract, value::RunnerName};

/// What a pusher is made of.
#[derive(Debug, Clone)]
pub struct Pusher {
    pub name: RunnerName,
    /// The runner's own verified image in the engine's store.
    pub local_id: String,
    pub network: Option<String>,
    /// systemd's, where the engine puts containers into its slices.
    pub slice: Option<String>,
    /// What it pushes where; on this host's disk, for root alone.
    pub settings: PathBuf,
    pub key: Option<PathBuf>,
    /// What the cache is logged in with.
    pub login: Option<PathBuf>,
    /// The cache's own folder, where it is one on this host.
    pub folder: Option<PathBuf>,
}

/// What a NAR of any size takes, and what is around it.
const MEMORY: &str = "512m";
const PIDS: u32 = 256;

impl Cli {
    /// Have the pusher run as it is asked for; whether it had to be made.
    pub fn keep_pusher(&self, pusher: &Pusher) -> Result<bool, Error> {
        let name = pusher_name(&pusher.name);
        let arguments = self.pusher_arguments(pusher);
        let fingerprint = fingerprint(pusher, &arguments);
        let found = self.inspect(&name)?;
        if found.as_ref().is_some_and(|found| found.fingerprint.is_empty()) {
            let why = format!("a container {name} is there, and is not ours: rename it, or remove it");
            return Err(Error::Failed { command: format!("{} create", self.program()), why });
        }
        if let Some(found) = found.filter(|found| found.fingerprint == fingerprint) {
            if found.status != Status::Running {
                self.run(&["start", &name])?;
            }
            return Ok(false);
        }
        // What it was at is in the queue, and the next one's.
        self.remove(&name)?;
        let mut create: Vec<String> = vec!["create".into(), "--pull=never".into(), format!("--name={name}")];
        create.push(format!("--label={FINGERPRINT_LABEL}={fingerprint}"));
        create.extend(ulimits());
        create.extend(arguments);
        self.run(&create)?;
        self.run(&["start", &name])?;
        Ok(true)
    }

    /// Start one that was made before, and has ended.
    pub fn start_pusher(&self, runner: &RunnerName) -> Result<(), Error> {
        self.run(&["start", &pusher_name(runner)]).map(drop)
    }

    /// Let it push what waits, for so long at most, and end it.
    pub fn stop_pusher(&self, runner: &RunnerName, patience: Duration) -> Result<(), Error> {
        let wait = format!("--time={}", patience.as_secs());
        self.ask(&["stop", &wait, &pusher_name(runner)], MISSING).map(drop)
    }

    fn pusher_arguments(&self, pusher: &Pusher) -> Vec<String> {
        let inside = |what: &str| format!("{}/{what}", contract::PUSHER_MOUNT);
        let mut arguments: Vec<String> = vec![
            format!("--hostname={}", pusher_name(&pusher.name)),
            format!("--label={INSTANCE_LABEL}={}", pusher.name),
            format!("--restart={}", self.engine.restart_policy()),
            format!("--log-opt={LOG_SIZE}"),
            format!("--memory={MEMORY}"),
            format!("--memory-swap={MEMORY}"),
            format!("--pids-limit={PIDS}"),
            "--read-only".to_owned(),
            "--tmpfs=/tmp".to_owned(),
            "--security-opt=no-new-privileges".to_owned(),
            // The queue is the runner's root's, who is nobody here.
            "--cap-drop=all".to_owned(),
            "--cap-add=DAC_OVERRIDE".to_owned(),
            format!("--entrypoint={}", contract::PROGRAM),
            format!("--volume={}:{}:ro", store_volume(&pusher.name), contract::STORE_MOUNT),
            format!("--volume={}:{}", queue_volume(&pusher.name), contract::QUEUE_MOUNT),
        ];
        arguments.extend(pusher.slice.iter().map(|slice| format!("--cgroup-parent={slice}")));
        arguments.extend(pusher.network.iter().map(|network| format!("--network={network}")));
        let bind = |from: &PathBuf, to: &str, options: &str| {
            let engines = self.engine.mount_options();
            format!("--mount=type=bind,source={},destination={to}{options}{engines}", from.display())
        };
        arguments.push(bind(&pusher.settings, &inside("settings.json"), ",readonly"));
        arguments.extend(pusher.key.iter().map(|key| bind(key, &inside("key"), ",readonly")));
        let login = pusher.login.iter();
        arguments.extend(login.map(|login| bind(login, &inside("login"), ",readonly")));
        arguments.extend(pusher.folder.iter().map(|folder| bind(folder, &folder.display().to_string(), "")));
        arguments.push(pusher.local_id.clone());
        arguments.extend(["pusher", "--store=/nix/store"].map(str::to_owned));
        arguments.push(format!("--queue={}", contract::QUEUE_MOUNT));
        arguments.push(format!("--settings={}", inside("settings.json")));
        arguments.extend(pusher.key.iter().map(|_| format!("--key={}", inside("key"))));
        arguments.extend(pusher.login.iter().map(|_| format!("--login={}", inside("login"))));
        arguments
    }
}

/// Files that are mounted count with their content: a new key is another pusher.
fn fingerprint(pusher: &Pusher, arguments: &[String]) -> String {
    let mut hash = Sha256::new();
    for argument in arguments {
        hash.update(argument.as_bytes());
        hash.update([0]);
    }
    for file in [Some(&pusher.settings), pusher.key.as_ref(), pusher.login.as_ref()].into_iter().flatten() {
        hash.update(fs::read(file).unwrap_or_default());
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}
