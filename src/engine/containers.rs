//! Containers: created from a verified image with caps and least privileges, started, looked at, removed.

use std::{
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use super::{
    Cli, Container, Error, Layout, Status,
    container::{FINGERPRINT_LABEL, INSTANCE_LABEL, SLOT_LABEL, preflight_name, queue_volume, trial_name},
};
use crate::{contract, value::RunnerName};

/// What an image says of itself before it is trusted with jobs.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Preflight {
    /// Of GitHub's program in it.
    pub runner_version: String,
}

/// Without its user namespace's capabilities a container's root could not do the little that PID 1 does:
/// own the store, drop to other users, end their processes.
pub(super) const CAPABILITIES: &str =
    "CHOWN,DAC_OVERRIDE,FOWNER,SETUID,SETGID,KILL,SYS_CHROOT,SETFCAP,SETPCAP";
/// A runner's open log is the engine's to keep small: some megabytes tell the last day.
pub(super) const LOG_SIZE: &str = "max-size=16m";
/// What PID 1 takes at most to cancel a job and end.
pub const CANCELLING: Duration = Duration::from_secs(60);
/// A unit makes its container at every start from its own file: no fingerprint could differ.
const OF_A_UNIT: &str = "unit";
/// How engines say that there is no such container.
pub(super) const MISSING: &[&str] = &["no such container", "no container with"];
/// What PID 1 needs at most before it listens to signals.
const HEARS: Duration = Duration::from_secs(2);
const REMOVE_ATTEMPTS: u32 = 25;
const STOP_ATTEMPTS: u32 = 5;
/// How long podman may hold one for stopping that has no process any more: it says nothing else of one whose conmon was killed.
const STOPPING: Duration = Duration::from_secs(5);
/// How podman says that a container is in another state than the one that it was told of.
const IN_BETWEEN: &str = "container state improper";

impl Cli {
    /// Every option of `create` and the image, without name, fingerprint and ulimits.
    fn create_arguments(&self, container: &Container) -> Vec<String> {
        let mut arguments = self.options(container);
        // One that takes one job is not to be seen twice.
        let restart = if container.slot.is_some() { "no" } else { self.engine.restart_policy() };
        arguments.push(format!("--restart={restart}"));
        arguments.push(format!("--log-opt={LOG_SIZE}"));
        arguments.push(container.local_id.clone());
        arguments
    }

    /// What a container of this runner is made with, whoever makes it and starts it again.
    fn options(&self, container: &Container) -> Vec<String> {
        let caps = &container.caps;
        let mut arguments: Vec<String> = vec![
            format!("--hostname={}", container.name),
            format!("--label={INSTANCE_LABEL}={}", container.instance()),
            format!("--memory={}", caps.memory.0),
            format!("--memory-swap={}", caps.memory.0),
            format!("--cpus={}", caps.cpus),
            format!("--pids-limit={}", caps.pids),
            format!("--stop-timeout={}", (container.patience.0 + CANCELLING).as_secs()),
        ];
        if let Some(slot) = &container.slot {
            arguments.push(format!("--label={SLOT_LABEL}={}", slot.number));
        }
        arguments.extend(container.slice.iter().map(|slice| format!("--cgroup-parent={slice}")));
        arguments.extend(container.network.iter().map(|network| format!("--network={network}")));
        arguments.extend(self.privileges(container));
        if container.layout == Layout::Contract {
            arguments.push(format!("--volume={}:{}", container.store_volume(), contract::STORE_MOUNT));
            arguments.push(format!("--volume={}:{}", container.runner_volume(), contract::RUNNER_ROOT));
            if container.env.contains_key(contract::env::UPLOADS) {
                let queue = queue_volume(&container.name);
                arguments.push(format!("--volume={queue}:{}", contract::QUEUE_MOUNT));
            }
            arguments.push(format!(
                "--mount=type=bind,source={},destination={}{}",
                container.handover.0.display(),
                contract::HANDOVER_MOUNT,
                self.engine.mount_options(),
            ));
        }
        arguments.extend(container.env.iter().map(|(name, value)| format!("--env={name}={value}")));
        arguments
    }

    /// The same for a unit's command line: systemd keeps the log of podman's, and starts it again.
    pub fn unit_options(&self, container: &Container) -> Vec<String> {
        let mut options = self.options(container);
        options.push(format!("--label={FINGERPRINT_LABEL}={OF_A_UNIT}"));
        if self.program() != "podman" {
            options.push(format!("--log-opt={LOG_SIZE}"));
        }
        options
    }

    /// The least privileges, the same for the runner and for what prepares its store.
    pub(super) fn privileges(&self, container: &Container) -> Vec<String> {
        let mut options = self.engine.isolation(container);
        options.extend(["--security-opt=no-new-privileges".to_owned(), "--cap-drop=all".to_owned()]);
        options.extend(CAPABILITIES.split(',').map(|capability| format!("--cap-add={capability}")));
        if container.unconfined {
            options.push("--security-opt=apparmor=unconfined".to_owned());
        }
        options
    }

    /// A hash of all that is fixed when a container is created: another one means, create it anew. What
    /// depends on the shell that `up` was typed in (its limits) is not in it.
    pub fn fingerprint(&self, container: &Container) -> String {
        container.fingerprint(&self.create_arguments(container))
    }

    /// Create the container under a name; it does not run yet.
    pub fn create(&self, container: &Container, name: &str) -> Result<(), Error> {
        let mut arguments = vec![
            "create".to_owned(),
            "--pull=never".to_owned(),
            format!("--name={name}"),
            format!("--label={FINGERPRINT_LABEL}={}", self.fingerprint(container)),
        ];
        arguments.extend(ulimits());
        arguments.extend(self.create_arguments(container));
        self.run(&arguments).map(drop)
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.run(&["rename", from, to]).map(drop)
    }

    /// Copy a file into a container that was created (mode and owner are kept).
    pub fn copy_in(&self, name: &RunnerName, from: &str, to: &str) -> Result<(), Error> {
        self.run(&["cp", from, format!("{name}:{to}").as_str()]).map(drop)
    }

    /// Start one that was created or has stopped; one that is just stopping is waited for.
    pub fn start(&self, name: &RunnerName) -> Result<(), Error> {
        let until = Instant::now() + STOPPING;
        loop {
            match self.run(&["start", name.as_str()]) {
                Err(error @ Error::Failed { .. }) if error.to_string().contains(IN_BETWEEN) => {
                    if Instant::now() > until {
                        let found = self.inspect(name.as_str())?;
                        let is_alive = found.is_some_and(|found| found.status == Status::Running);
                        let stuck = Error::Stuck { engine: self.program(), name: name.to_string() };
                        return Err(if is_alive { error } else { stuck });
                    }
                    thread::sleep(Duration::from_millis(500));
                }
                answer => return answer.map(drop),
            }
        }
    }

    /// Send its PID 1 a signal; one that does not run hears none.
    pub fn signal(&self, name: &RunnerName, signal: &str) -> Result<(), Error> {
        self.run(&["kill", &format!("--signal={signal}"), name.as_str()]).map(drop)
    }

    /// Stop without patience for a job, which is cancelled in good order; then kill. One that is gone is no error.
    ///
    /// One that ends by itself in that moment is neither stopped by podman nor forgotten: its restart policy
    /// brings it back a little later. Then it is stopped again, until it rests.
    pub fn stop(&self, name: &RunnerName) -> Result<(), Error> {
        // PID 1 waits for a job under a mere `stop`. One that has ended by now is stopped all the same.
        let interrupt = || drop(self.output(&["kill", "--signal=INT", name.as_str()]));
        interrupt();
        let wait = format!("--time={}", CANCELLING.as_secs());
        let stop = ["stop", wait.as_str(), name.as_str()];
        for _ in 0..STOP_ATTEMPTS {
            let answer = thread::scope(|scope| {
                let (stopped, waiting) = channel::<()>();
                // One that has only just begun may not listen yet, and the kernel drops what it is told: it is told twice.
                scope.spawn(move || {
                    if waiting.recv_timeout(HEARS) == Err(RecvTimeoutError::Timeout) {
                        interrupt();
                    }
                });
                let answer = self.ask(&stop, MISSING);
                drop(stopped);
                answer
            });
            match answer {
                // It ended, and was started again, while it was being stopped.
                Err(Error::Failed { why, .. }) if why.contains(IN_BETWEEN) => {}
                answer => drop(answer?),
            }
            self.engine.settle(self, name);
            if self.inspect(name.as_str())?.is_none_or(|found| found.status != Status::Running) {
                return Ok(());
            }
        }
        let why =
            format!("it came back {STOP_ATTEMPTS} times; `{} rm --force {name}` ends it", self.program());
        Err(Error::Failed { command: self.command_line(&stop), why })
    }

    /// Remove a container, running or not, with what nameless volumes it has; one that is not there is no
    /// error.
    ///
    /// Podman tidies up behind a container that stopped in a process of its own, and `rm` fails while that
    /// one still holds a mount: then it is asked again.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let arguments = ["rm", "--force", "--volumes", name];
        let mut attempt = 0;
        loop {
            match self.ask(&arguments, MISSING) {
                Err(error) if attempt >= REMOVE_ATTEMPTS => return Err(error),
                Err(_) => {}
                Ok(_) => return Ok(()),
            }
            attempt += 1;
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Try in a one-shot container with the same privileges whether a build sandbox could be made.
    pub fn can_sandbox(&self, container: &Container) -> Result<bool, Error> {
        let name = trial_name(&container.name);
        self.remove(&name)?;
        let mut arguments =
            ["run", "--rm", "--pull=never", "--network=none", "--memory=256m", "--pids-limit=64"]
                .map(str::to_owned)
                .to_vec();
        arguments.push(format!("--name={name}"));
        arguments.push(format!("--label={INSTANCE_LABEL}={}", container.name));
        arguments.push(format!("--entrypoint={}", contract::PROGRAM));
        arguments.extend(ulimits());
        arguments.extend(self.privileges(container));
        arguments.extend([container.local_id.clone(), "can-sandbox".to_owned()]);
        let output = self.output(&arguments)?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            // The engine's own failures have other codes.
            _ => Err(self.failed(&arguments, &output)),
        }
    }

    /// Prove in a one-shot container with the same privileges and caps, and the image's own store, that the image would
    /// work here; what it says of itself, or why it would not.
    pub fn preflight(&self, container: &Container) -> Result<Result<Preflight, String>, Error> {
        let name = preflight_name(&container.name);
        self.remove(&name)?;
        let mut arguments = vec!["run".to_owned(), "--rm".to_owned(), format!("--name={name}")];
        arguments.extend(["--pull=never", "--network=none"].map(str::to_owned));
        arguments.push(format!("--memory={}", container.caps.memory.0));
        arguments.push(format!("--memory-swap={}", container.caps.memory.0));
        arguments.push(format!("--pids-limit={}", container.caps.pids));
        arguments.push(format!("--cpus={}", container.caps.cpus));
        arguments.push(format!("--label={INSTANCE_LABEL}={}", container.name));
        arguments.push(format!("--entrypoint={}", contract::PROGRAM));
        let environment = container.env.iter().map(|(name, value)| format!("--env={name}={value}"));
        arguments.extend(environment);
        arguments.extend(ulimits());
        arguments.extend(self.privileges(container));
        arguments.extend([container.local_id.clone(), "preflight".to_owned()]);
        let output = self.output(&arguments)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = said.lines().next_back().and_then(|line| serde_json::from_str(line).ok());
        if let (true, Some(told)) = (output.status.success(), told) {
            return Ok(Ok(told));
        }
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        let why = complained.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
        Ok(Err(why.trim_start_matches("vega-builder: ").to_owned()))
    }

    /// The container's log since a time, as the engine writes times; empty when it has none.
    pub fn log_since(&self, name: &RunnerName, since: &str) -> String {
        let output = self.output(&["logs", "--since", since, name.as_str()]);
        let both = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&both).into_owned()
    }

    /// Whether what it says is in the host's journal, which outlives it.
    pub fn logs_to_journal(&self, name: &RunnerName) -> bool {
        let format = "--format={{.HostConfig.LogConfig.Type}}";
        self.run(&["container", "inspect", format, name.as_str()]).is_ok_and(|driver| driver == "journald")
    }

    /// The last lines of the container's log, for an error that must tell why it does not come up.
    pub fn last_log(&self, name: &RunnerName, lines: u32) -> String {
        let arguments = ["logs", "--tail", &lines.to_string(), name.as_str()];
        self.output(&arguments).map_or_else(
            |_| String::new(),
            |output| {
                let both = [output.stdout, output.stderr].concat();
                String::from_utf8_lossy(&both).trim_end().to_owned()
            },
        )
    }
}

/// Engines raise the limits of open files and processes to figures of their own, which the kernel refuses
/// inside a user namespace on a host whose hard limits are lower: there the host's are asked for.
pub(super) fn ulimits() -> Vec<String> {
    use nix::sys::resource::{Resource, getrlimit};
    // What podman and docker ask for: a million files, and processes as a cgroup allows.
    let wanted = [("nofile", Resource::RLIMIT_NOFILE, 1 << 20), ("nproc", Resource::RLIMIT_NPROC, 1 << 20)];
    let limits = wanted.map(|(name, resource, most)| {
        let hard = getrlimit(resource).map_or(most, |(_, hard)| hard);
        // A user namespace's own ceiling of processes lies below the host's hard limit.
        let hard = if name == "nproc" { hard.min(32768) } else { hard };
        (name, hard, most)
    });
    if limits.iter().all(|(name, hard, most)| *name == "nproc" || hard >= most) {
        return vec![];
    }
    limits.map(|(name, hard, _)| format!("--ulimit={name}={hard}:{hard}")).to_vec()
}
