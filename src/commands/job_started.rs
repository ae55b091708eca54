use std::{fs, io::Write as _, path::Path, process::ExitCode, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpid, getuid},
};

use crate::{
    cache::queue::Job,
    contract,
    runner::{
        event::{self, Refusal},
        user,
    },
    value::{Repository, Scope},
};

/// Judge the event of the job that is about to start
///
/// The runner calls this before a job's first step, as its unprivileged user. To the runner it is a step
/// like any other: after a failed one it still runs those with `if: always()`. So a job that is refused is
/// not merely failed: the worker that would run its steps is killed. Without an event that can be read, no
/// job starts.
#[derive(Debug, clap::Args)]
pub struct JobStarted {}

/// What the worker needs to send its log, so that the person sees why.
const UPLOAD: Duration = Duration::from_secs(2);
/// What a killed worker's processes need to go.
const END: Duration = Duration::from_secs(5);

impl JobStarted {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Err(refusal) = judge() else {
            // Before the first step: whoever speaks later is not heard.
            let _ = Job::of_environment().tell(Path::new(contract::JOB_SOCKET));
            return Ok(ExitCode::SUCCESS);
        };
        // The form that GitHub shows on the job's page. Nobody may be there to read it.
        let _ = writeln!(std::io::stdout(), "::error title=vega-builder refuses this job::{refusal}");
        let _ = writeln!(std::io::stderr(), "vega-builder: {refusal}");
        thread::sleep(UPLOAD);
        stop_the_job();
        thread::sleep(END);
        Ok(ExitCode::FAILURE)
    }
}

fn judge() -> Result<(), Refusal> {
    let variable =
        |name: &str| std::env::var(name).map_err(|_| Refusal::Unreadable(format!("{name} is not set")));
    let read = |path: &str| fs::read(path).map_err(|why| Refusal::Unreadable(format!("{path}: {why}")));
    let (name, path) = (variable("GITHUB_EVENT_NAME")?, variable("GITHUB_EVENT_PATH")?);
    let payload =
        serde_json::from_slice(&read(&path)?).map_err(|why| Refusal::Unreadable(format!("{path}: {why}")))?;
    let repository: Repository = variable("GITHUB_REPOSITORY")?
        .parse()
        .map_err(|why| Refusal::Unreadable(format!("GITHUB_REPOSITORY: {why}")))?;
    // The job's variables are what GitHub sent; whose jobs may run here is what root wrote down.
    let ours = String::from_utf8_lossy(&read(contract::CONFIGURED_SCOPE)?).trim().to_owned();
    let repository_is_ours = ours.parse::<Scope>().is_ok_and(|ours| ours.holds(&repository));
    if !repository_is_ours {
        return Err(Refusal::Stranger { repository: repository.to_string(), ours });
    }
    event::check(&name, &payload, &repository.to_string())
}

/// Kill the worker above us; where none is found, everything of this user.
fn stop_the_job() {
    let worker = ancestors().find(|process| process.name == contract::WORKER);
    let killed = worker.is_some_and(|worker| kill(worker.pid, Signal::SIGKILL).is_ok());
    if !killed {
        let _ = user::kill_everything();
    }
}

struct Process {
    pid: Pid,
    name: String,
    parent: i32,
}

impl Process {
    /// One of our own user.
    fn of(pid: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<i64>().ok()
        };
        if field("Uid:")? != i64::from(getuid().as_raw()) {
            return None;
        }
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned();
        Some(Self { pid: Pid::from_raw(pid), name, parent: i32::try_from(field("PPid:")?).ok()? })
    }
}

/// Upwards from our parent, as long as they are of our user; never PID 1.
fn ancestors() -> impl Iterator<Item = Process> {
    let parent = |of: &Process| Some(of.parent).filter(|pid| *pid > 1).and_then(Process::of);
    let first = Process::of(getpid().as_raw()).and_then(|own| parent(&own));
    std::iter::successors(first, move |process| parent(process))
}
