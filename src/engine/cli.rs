use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use serde_json::Value;

use super::{
    Container, Error, Layout,
    container::{FINGERPRINT_LABEL, INSTANCE_LABEL},
};
use crate::{
    contract,
    trust::Verified,
    value::{ImageDigest, RunnerName},
};

/// What podman and docker do differently.
pub trait Engine: Send + Sync {
    /// The program's name, for the person and for the command line.
    fn program(&self) -> &'static str;
    /// Options of `create` for least privileges: user namespace, unmasked /proc, seccomp profile.
    fn isolation(&self, container: &Container) -> Vec<String>;
    /// How `create` is told the image, so that nobody can give its name to another one in between.
    fn image_argument(&self, container: &Container) -> String {
        container.pinned()
    }
    /// The restart policy that survives a crash; a reboot is another matter (see `boot`).
    fn restart_policy(&self) -> &'static str {
        "unless-stopped"
    }
}

/// Whether a container exists and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Created,
    Running,
    Stopped,
}

/// What the engine says of a container that exists.
#[derive(Debug, Clone)]
pub struct Inspected {
    pub id: String,
    pub status: Status,
    /// The first process on the host; 0 when none runs.
    pub pid: u32,
    pub image_id: String,
    pub fingerprint: String,
    pub started_at: String,
    pub restarts: u64,
}

/// An image in the engine's store.
#[derive(Debug, Clone)]
pub struct LocalImage {
    /// 64 hex digits.
    pub id: String,
    pub layout: Layout,
}

/// An engine's command line.
#[derive(Clone)]
pub struct Cli {
    engine: Arc<dyn Engine>,
}

/// Without its user namespace's capabilities a container's root could not do the little that PID 1 does:
/// own the store, drop to other users, end their processes.
const CAPABILITIES: &str = "CHOWN,DAC_OVERRIDE,FOWNER,SETUID,SETGID,KILL,SYS_CHROOT,SETFCAP,SETPCAP";
/// A runner's open log is the engine's to keep small: some megabytes tell the last day.
const LOG_SIZE: &str = "max-size=16m";

impl Cli {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    pub fn program(&self) -> &'static str {
        self.engine.program()
    }

    /// Run the engine and give its standard output; its standard error is the reason when it fails.
    pub fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Result<String, Error> {
        let output = self.output(arguments, None)?;
        if !output.status.success() {
            return Err(self.failed(arguments, &output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    fn output<S: AsRef<str>>(&self, arguments: &[S], input: Option<&[u8]>) -> Result<Output, Error> {
        let command = self.command_line(arguments);
        let mut process = Command::new(self.program());
        process.args(arguments.iter().map(AsRef::as_ref));
        process.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        process.stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |why: std::io::Error| Error::Failed { command: command.clone(), why: why.to_string() };
        let mut child = process.spawn().map_err(failed)?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A closed pipe shows as the program's own failure, with its reason.
            let _ = stdin.write_all(input);
        }
        child.wait_with_output().map_err(failed)
    }

    /// The words of a command for an error: enough to recognise it, without forty options.
    fn command_line<S: AsRef<str>>(&self, arguments: &[S]) -> String {
        let words: Vec<_> =
            arguments.iter().map(AsRef::as_ref).take_while(|word| !word.starts_with("--")).collect();
        format!("{} {}", self.program(), words.join(" ")).trim_end().to_owned()
    }

    fn failed<S: AsRef<str>>(&self, arguments: &[S], output: &Output) -> Error {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
        let why = last.trim_start_matches("Error: ").trim_start_matches("Error response from daemon: ");
        Error::Failed { command: self.command_line(arguments), why: why.to_owned() }
    }

    /// The container of this name, when there is one.
    pub fn inspect(&self, name: &RunnerName) -> Result<Option<Inspected>, Error> {
        let arguments = ["container", "inspect", name.as_str()];
        let output = self.output(&arguments, None)?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
            return if text.contains("no such") { Ok(None) } else { Err(self.failed(&arguments, &output)) };
        }
        let answer = |why: String| Error::Answer { command: self.command_line(&arguments), why };
        let list: Value = serde_json::from_slice(&output.stdout).map_err(|why| answer(why.to_string()))?;
        let container = list.get(0).ok_or_else(|| answer("the list is empty".to_owned()))?;
        Ok(Some(inspected(container)))
    }

    /// The image of this digest, when the engine holds it: its id, and what its labels promise.
    pub fn local_image(&self, image_name: &str, digest: &ImageDigest) -> Result<Option<LocalImage>, Error> {
        let pinned = format!("{image_name}@{digest}");
        let format = format!("{{{{.Id}}}} {{{{index .Config.Labels \"{}\"}}}}", contract::LAYOUT_LABEL);
        let output =
            self.output(&["image", "inspect", "--format", format.as_str(), pinned.as_str()], None)?;
        if !output.status.success() {
            return Ok(None);
        }
        let answer = String::from_utf8_lossy(&output.stdout);
        let (id, label) = answer.trim().split_once(' ').unwrap_or((answer.trim(), ""));
        let layout = if label == contract::LAYOUT { Layout::Contract } else { Layout::Foreign };
        Ok(Some(LocalImage { id: id.trim_start_matches("sha256:").to_owned(), layout }))
    }

    /// An image that the engine holds under a verified digest is the one which the verified manifest names,
    /// or an error: somebody may have given its name to another one.
    ///
    /// The engine's id of an image is the digest of its configuration (docker with containerd's image store:
    /// of its manifest).
    pub fn expect_image(
        &self,
        local: &LocalImage,
        image: &Verified<ImageDigest>,
        image_id: &ImageDigest,
        name: &str,
    ) -> Result<(), Error> {
        if [image_id.hex(), image.value().hex(), image.evidence().signed.hex()].contains(&local.id.as_str()) {
            return Ok(());
        }
        Err(Error::WrongImage {
            engine: self.program(),
            digest: format!("{name}@{}", image.value()),
            found: local.id.clone(),
            expected: image_id.hex().to_owned(),
        })
    }

    /// Download an image by digest. It may be called before the signature's check has ended: what is
    /// downloaded does not run.
    pub fn pull(&self, image_name: &str, digest: &ImageDigest, loopback: bool) -> Result<(), Error> {
        let pinned = format!("{image_name}@{digest}");
        let mut arguments = vec!["pull", "--quiet"];
        if loopback && self.program() == "podman" {
            arguments.push("--tls-verify=false");
        }
        arguments.push(&pinned);
        self.run(&arguments).map(drop)
    }

    /// Every option of `create`, without the fingerprint.
    pub fn create_arguments(&self, container: &Container) -> Vec<String> {
        let caps = &container.caps;
        let mut arguments: Vec<String> = vec![
            format!("--name={}", container.name),
            format!("--hostname={}", container.name),
            format!("--label={INSTANCE_LABEL}={}", container.name),
            format!("--restart={}", self.engine.restart_policy()),
            format!("--memory={}", caps.memory.0),
            format!("--memory-swap={}", caps.memory.0),
            format!("--cpus={}", caps.cpus),
            format!("--pids-limit={}", caps.pids),
            format!("--log-opt={LOG_SIZE}"),
            "--stop-timeout=60".to_owned(),
        ];
        arguments.extend(container.network.iter().map(|network| format!("--network={network}")));
        arguments.extend(self.privileges(container));
        if container.layout == Layout::Contract {
            arguments.push(format!("--volume={}:{}", container.store_volume(), contract::STORE_MOUNT));
            arguments.push(format!("--volume={}:{}", container.runner_volume(), contract::RUNNER_ROOT));
            let handover = container.handover.0.display();
            arguments.push(format!(
                "--mount=type=bind,source={handover},destination={}",
                contract::HANDOVER_MOUNT
            ));
        }
        arguments.extend(container.env.iter().map(|(name, value)| format!("--env={name}={value}")));
        arguments.push(self.engine.image_argument(container));
        arguments
    }

    /// The least privileges, the same for the runner and for what prepares its store.
    fn privileges(&self, container: &Container) -> Vec<String> {
        let mut options = self.engine.isolation(container);
        options.extend(["--security-opt=no-new-privileges".to_owned(), "--cap-drop=all".to_owned()]);
        options.extend(CAPABILITIES.split(',').map(|capability| format!("--cap-add={capability}")));
        options.extend(ulimits());
        options
    }

    /// Add the store paths of the image to a store that an earlier image filled, in a one-shot container of
    /// the same verified image. (An empty volume needs none: the engine fills it at the first start.)
    pub fn seed(&self, container: &Container) -> Result<(), Error> {
        let mut arguments = vec![
            "run".to_owned(),
            "--rm".to_owned(),
            "--pull=never".to_owned(),
            "--network=none".to_owned(),
            format!("--memory={}", container.caps.memory.0),
            format!("--memory-swap={}", container.caps.memory.0),
            format!("--pids-limit={}", container.caps.pids),
            format!("--entrypoint={}", contract::PROGRAM),
            format!("--volume={}:{}", container.store_volume(), contract::SEED_MOUNT),
        ];
        arguments.extend(self.privileges(container));
        arguments.push(self.engine.image_argument(container));
        arguments.extend(
            ["seed", "--from", contract::STORE_MOUNT, "--to", contract::SEED_MOUNT].map(str::to_owned),
        );
        self.run(&arguments).map(drop)
    }

    /// A hash of all that is fixed when a container is created: another one means, create it anew.
    pub fn fingerprint(&self, container: &Container) -> String {
        container.fingerprint(&self.create_arguments(container))
    }

    /// Create the container; it does not run yet.
    pub fn create(&self, container: &Container) -> Result<(), Error> {
        let options = self.create_arguments(container);
        let fingerprint = format!("--label={FINGERPRINT_LABEL}={}", container.fingerprint(&options));
        let mut arguments = vec!["create".to_owned(), "--pull=never".to_owned(), fingerprint];
        arguments.extend(options);
        self.run(&arguments).map(drop)
    }

    /// Copy a file into a container that was created (mode and owner are kept).
    pub fn copy_in(&self, name: &RunnerName, from: &str, to: &str) -> Result<(), Error> {
        self.run(&["cp", from, format!("{name}:{to}").as_str()]).map(drop)
    }

    pub fn start(&self, name: &RunnerName) -> Result<(), Error> {
        self.run(&["start", name.as_str()]).map(drop)
    }

    /// Stop with the container's own patience, then kill.
    pub fn stop(&self, name: &RunnerName) -> Result<(), Error> {
        self.run(&["stop", name.as_str()]).map(drop)
    }

    /// Remove the container, running or not; one that is not there is no error.
    ///
    /// Podman tidies up behind a container that stopped in a process of its own, and `rm` fails while that
    /// one still holds a mount: then it is asked again.
    pub fn remove(&self, name: &RunnerName) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            let output = self.output(&["rm", "--force", name.as_str()], None)?;
            let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
            if output.status.success()
                || text.contains("no such container")
                || text.contains("no container with")
            {
                return Ok(());
            }
            attempt += 1;
            if attempt > REMOVE_ATTEMPTS {
                return Err(self.failed(&["rm", name.as_str()], &output));
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }

    pub fn has_volume(&self, volume: &str) -> Result<bool, Error> {
        Ok(self.output(&["volume", "inspect", volume], None)?.status.success())
    }

    /// Remove a volume; one that is not there is no error.
    pub fn remove_volume(&self, volume: &str) -> Result<(), Error> {
        if self.has_volume(volume)? { self.run(&["volume", "rm", volume]).map(drop) } else { Ok(()) }
    }

    /// Remove an image, by digest; whether it was there, and no other container needs it.
    pub fn remove_image(&self, pinned: &str) -> Result<bool, Error> {
        Ok(self.output(&["rmi", pinned], None)?.status.success())
    }

    /// The last lines of the container's log, for an error that must tell why it does not come up.
    pub fn last_log(&self, name: &RunnerName, lines: u32) -> String {
        let arguments = ["logs", "--tail", &lines.to_string(), name.as_str()];
        self.output(&arguments, None).map_or_else(
            |_| String::new(),
            |output| {
                let both = [output.stdout, output.stderr].concat();
                String::from_utf8_lossy(&both).trim_end().to_owned()
            },
        )
    }
}

const REMOVE_ATTEMPTS: u32 = 25;

/// Engines raise the limits of open files and processes to figures of their own, which the kernel refuses
/// inside a user namespace on a host whose hard limits are lower: there the host's are asked for.
fn ulimits() -> Vec<String> {
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

fn inspected(container: &Value) -> Inspected {
    let text =
        |pointer: &str| container.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| container.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let status = match text("/State/Status").as_str() {
        "running" | "restarting" | "paused" => Status::Running,
        "created" | "configured" | "initialized" => Status::Created,
        _ => Status::Stopped,
    };
    let labels = container.pointer("/Config/Labels");
    let label = labels.and_then(|labels| labels.get(FINGERPRINT_LABEL)).and_then(Value::as_str);
    Inspected {
        id: text("/Id"),
        status,
        pid: u32::try_from(number("/State/Pid")).unwrap_or_default(),
        image_id: text("/Image"),
        fingerprint: label.unwrap_or_default().to_owned(),
        started_at: text("/State/StartedAt"),
        restarts: number("/RestartCount"),
    }
}
