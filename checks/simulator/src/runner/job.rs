//! The worker: a job's folders, variables, hooks and steps.

use std::{
    fs,
    io::Read as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use reqwest::blocking::Client;

use super::{root::Saved, wire::client};
use crate::github::{Step, protocol::Assigned};

struct Worker {
    saved: Saved,
    assigned: Assigned,
    client: Client,
    workspace: PathBuf,
    temp: PathBuf,
    cancelled: Arc<AtomicBool>,
}

/// Run the job on the standard input; an error is a failed job.
pub fn work() -> anyhow::Result<()> {
    let cancelled = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&cancelled))?;
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text)?;
    let assigned: Assigned = serde_json::from_slice(&text)?;
    let saved = Saved::load()?;
    let work = saved.root.join(&saved.work);
    let name = assigned.job.repository.rsplit('/').next().unwrap_or("repository").to_owned();
    let (workspace, temp) = (work.join(&name).join(&name), work.join("_temp"));
    let _ = fs::remove_dir_all(&temp);
    fs::create_dir_all(&workspace)?;
    fs::create_dir_all(temp.join("_github_workflow"))?;
    fs::create_dir_all(saved.root.join("_diag"))?;
    let worker = Worker { saved, assigned, client: client()?, workspace, temp, cancelled };
    worker.run()
}

impl Worker {
    fn run(&self) -> anyhow::Result<()> {
        let job = &self.assigned.job;
        fs::write(self.event_path(), job.payload.to_string())?;
        // To the real one the hook is a step like the others: when it fails the job has failed, and goes on
        // with the steps whose condition allows that.
        let mut result = self.told(self.hook("ACTIONS_RUNNER_HOOK_JOB_STARTED", "A job started hook"));
        for (number, step) in job.steps.iter().enumerate() {
            if self.cancelled.load(Ordering::Relaxed) {
                break;
            }
            if step.runs(result.is_err()) {
                result = result.and(self.told(self.step(number, step)));
            }
        }
        result.and(self.told(self.hook("ACTIONS_RUNNER_HOOK_JOB_COMPLETED", "A job completed hook")))
    }

    /// A failed step says so in the log.
    fn told(&self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        result.inspect_err(|error| self.log(&format!("##[error]{error:#}\n")))
    }

    fn step(&self, number: usize, step: &Step) -> anyhow::Result<()> {
        self.log(&format!("##[group]Run {}\n##[endgroup]\n", step.name));
        let script = self.temp.join(format!("step-{number}.sh"));
        fs::write(&script, &step.run)?;
        let mut bash = Command::new("bash");
        bash.arg("-e").arg(&script).envs(&self.assigned.job.env);
        match self.execute(&mut bash)? {
            Some(0) => Ok(()),
            code => bail!("Process completed with exit code {}.", code.unwrap_or(137)),
        }
    }

    /// A hook is a script that the runner's own environment names: not a job's.
    fn hook(&self, variable: &str, what: &str) -> anyhow::Result<()> {
        let Ok(path) = std::env::var(variable) else { return Ok(()) };
        self.log(&format!("{what} has been configured by the self-hosted runner administrator\n"));
        if !Path::new(&path).is_absolute() || !Path::new(&path).exists() {
            bail!("File doesn't exist: {path}");
        }
        let mut bash = Command::new("bash");
        bash.arg("-e").arg(&path);
        match self.execute(&mut bash)? {
            Some(0) => Ok(()),
            code => bail!("Process completed with exit code {}.", code.unwrap_or(137)),
        }
    }

    fn event_path(&self) -> PathBuf {
        self.temp.join("_github_workflow/event.json")
    }

    /// Run in the job's environment, with both outputs in the job's log.
    fn execute(&self, command: &mut Command) -> anyhow::Result<Option<i32>> {
        let job = &self.assigned.job;
        let (mut reader, writer) = std::io::pipe()?;
        command
            .env("GITHUB_ACTIONS", "true")
            .env("CI", "true")
            .env("GITHUB_EVENT_NAME", &job.event)
            .env("GITHUB_EVENT_PATH", self.event_path())
            .env("GITHUB_REPOSITORY", &job.repository)
            .env("GITHUB_WORKSPACE", &self.workspace)
            .env("GITHUB_JOB", &job.name)
            .env("GITHUB_RUN_ID", self.assigned.id.to_string())
            .env("GITHUB_RUN_ATTEMPT", "1")
            .env("GITHUB_REF", job.payload["ref"].as_str().unwrap_or("refs/heads/main"))
            .env("GITHUB_SHA", "0000000000000000000000000000000000000000")
            .env("GITHUB_SERVER_URL", &self.saved.server)
            .env("RUNNER_NAME", &self.saved.name)
            .env("RUNNER_OS", "Linux")
            .env("RUNNER_TEMP", &self.temp)
            .env("RUNNER_ENVIRONMENT", "self-hosted")
            .current_dir(&self.workspace)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        // Our ends of the pipe live in the command; a shell that is as good as any other takes its place.
        *command = Command::new("bash");
        let follow = {
            let (client, url) = (self.client.clone(), self.log_url());
            thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(length) = reader.read(&mut buffer)
                    && length > 0
                {
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    let _ = client.post(&url).body(text).send();
                }
            })
        };
        let group = Pid::from_raw(i32::try_from(child.id())?);
        let mut told = false;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if self.cancelled.load(Ordering::Relaxed) && !std::mem::replace(&mut told, true) {
                let _ = killpg(group, Signal::SIGINT);
                thread::sleep(Duration::from_millis(500));
                let _ = killpg(group, Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(10));
        };
        // A process that the step left behind may hold the pipe for ever: the log is not waited for that long.
        for _ in 0..50 {
            if follow.is_finished() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(status.code())
    }

    fn log_url(&self) -> String {
        format!("{}/_runner/jobs/{}/log", self.saved.server, self.assigned.id)
    }

    fn log(&self, text: &str) {
        let _ = self.client.post(self.log_url()).body(text.to_owned()).send();
    }
}
