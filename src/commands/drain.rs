//! `drain`: no new job, and the end of what is under way.

use std::{io, process::ExitCode, time::Duration};

use anyhow::Context as _;
use serde_json::json;
use tokio::time::sleep;

use super::{
    slots::uploads_under_way,
    steps::{
        ending::{end_keeper, end_pusher, end_unit, stop_jobs},
        standing,
        subject::Subject,
    },
};
use crate::{
    cache::queue::{MOST, Queue, State},
    config::CredentialArgs,
    contract::Phase,
    exit::StillAtWork,
    github::GitHub,
    progress::{Output, Progress},
};

/// Take no new job, let the running one end, push what was built, then stop
///
/// A job is never cancelled, unless --now is given. It stays drained, through a restart and a reboot too, until `resume`,
/// `up` or `install`. Broken off, or after --wait, it goes on draining: no job starts, and the same command waits for the
/// rest of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder drain
      before this machine is serviced; `vega-builder resume` afterwards
  vega-builder drain octo-org/heavy-builds --wait 3600 || echo \"still at work\"
  vega-builder drain --now
      the running job is cancelled; what waits for its upload stays queued")]
pub struct Drain {
    /// The runner's name, its repository or its organisation, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    runner: Option<String>,
    /// Cancel the running job, and leave what waits for its upload in the queue
    #[arg(long)]
    now: bool,
    /// How long to wait for the job and the uploads, in seconds [default: until they have ended]
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    #[command(flatten)]
    credential: CredentialArgs,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Between two looks at what goes on.
const LOOK: Duration = Duration::from_millis(500);
/// Between two questions to GitHub.
const ASK: Duration = Duration::from_secs(5);
/// How often what pushes builds is started when it does not run.
const STARTS: u32 = 5;
/// Another command of ours may be about to end.
const PATIENCE: Duration = Duration::from_secs(300);

impl Drain {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let subject = Subject::find(self.runner.as_deref())?;
        let name = &subject.installation.name;
        // First of all: whatever happens to us from here on, no job starts.
        let drained = subject.installation.drain()?;
        if !self.now {
            let at_work = |why: &str| StillAtWork { name: name.to_string(), why: why.to_owned() };
            tokio::select! {
                ended = self.last_work(&subject, &progress) => ended?,
                () = given(self.wait) => anyhow::bail!(at_work("--wait is over")),
                _ = tokio::signal::ctrl_c() => anyhow::bail!(at_work("broken off")),
            }
        }
        self.stop(&subject, &progress)?;
        let text = format!("{name} takes no jobs until `vega-builder resume {name}`");
        progress.result(&text, &json!({ "name": name, "drained": drained.since }));
        Ok(ExitCode::SUCCESS)
    }

    /// Until no job runs, and nothing waits for its upload.
    async fn last_work(&self, subject: &Subject, progress: &Progress) -> anyhow::Result<()> {
        if subject.is_ephemeral && !subject.is_kept() {
            last_jobs(subject, progress).await?;
        } else if subject.is_ours_inside() {
            last_job(subject, progress).await?;
        } else {
            self.idle_at_github(subject, progress).await?;
        }
        last_uploads(subject, progress).await
    }

    /// What is in a container of another layout cannot be told to take no job: GitHub says when it has none.
    async fn idle_at_github(&self, subject: &Subject, progress: &Progress) -> anyhow::Result<()> {
        let step = progress.step("job", "asking GitHub whether a job runs");
        let Some(record) = subject.record.as_ref().filter(|_| matches!(subject.running(), Ok(Some(_))))
        else {
            step.done("nothing runs");
            return Ok(());
        };
        let identity = &record.identity;
        let credential =
            super::steps::token::credential(&self.credential, &record.github(), &identity.scope).await?;
        let github = GitHub::new(&identity.server, &identity.scope, &credential)?;
        while github.runner(&identity.name).await?.is_some_and(|runner| runner.busy) {
            step.doing("GitHub says busy");
            sleep(ASK).await;
        }
        step.done("no job runs; its image is not of our layout: one may start in this very moment");
        Ok(())
    }

    /// Nothing is at work any more, or is to be: the container, and what pushes its builds, end.
    fn stop(&self, subject: &Subject, progress: &Progress) -> anyhow::Result<()> {
        let (housing, name) = (&subject.housing, &subject.installation.name);
        let locked = subject.installation.lock_patiently(PATIENCE)?;
        anyhow::ensure!(
            locked.drained()?.is_some(),
            "{name} was told meanwhile to take jobs again, and goes on: type `vega-builder drain {name}` to drain it after all"
        );
        let step = progress.step("stop", "stopping the runner");
        if locked.is_declared() {
            end_unit(housing, name, subject.is_ephemeral)?;
            if self.now && subject.is_ephemeral {
                end_keeper(&subject.installation)?;
                // What nobody kept.
                stop_jobs(subject.engine()?, name)?;
            }
        } else if subject.running()?.is_some() {
            housing.stop(name)?;
        }
        step.done("nothing runs");
        if subject.pushes() {
            let step = progress.step("pusher", "stopping what pushes its builds");
            end_pusher(housing, name, self.now)?;
            step.done("it has ended");
        }
        Ok(())
    }
}

/// For so long, or for ever.
async fn given(wait: Option<u64>) {
    match wait {
        Some(seconds) => sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

/// Until none of the containers runs that nobody keeps any more, each of which ends after its job, and what they built is pushed.
async fn last_jobs(subject: &Subject, progress: &Progress) -> anyhow::Result<()> {
    let step = progress.step("job", "nobody keeps its slots: looking for running jobs");
    let (engine, mut told) = (subject.engine()?, false);
    loop {
        let jobs = standing::jobs(engine, &subject.installation.name)?;
        if jobs.is_empty() {
            break;
        }
        for job in &jobs {
            // One that has just ended is not there to be told.
            let _ = engine.signal(&job.name, "HUP");
        }
        let is_busy =
            |job: &&standing::Job| job.state.as_ref().is_some_and(|state| state.phase == Phase::Busy);
        let busy = jobs.iter().filter(is_busy).count();
        if busy > 0 && !std::mem::replace(&mut told, true) {
            progress.note(&format!(
                "{busy} jobs run: they are waited for (^C leaves it draining, --now cancels them)"
            ));
        }
        step.doing(&format!("{busy} jobs run"));
        sleep(LOOK).await;
    }
    step.done("nothing runs");
    let step = progress.step("uploads", "waiting for the last uploads");
    loop {
        match uploads_under_way(engine, &subject.installation.name)? {
            0 => break,
            left => step.doing(&format!("{left} builds wait")),
        }
        sleep(LOOK).await;
    }
    step.done("nothing waits");
    Ok(())
}

/// Until PID 1 says that it is at rest, or is gone.
async fn last_job(subject: &Subject, progress: &Progress) -> anyhow::Result<()> {
    let step = progress.step("job", "looking for a running job");
    let mut told = String::new();
    loop {
        if subject.running()?.is_none() && !subject.is_kept() {
            step.done("nothing runs");
            return Ok(());
        }
        let state = subject.installation.runner_state();
        match state.as_ref().map(|state| state.phase) {
            Some(Phase::Drained) => {
                step.done("no job runs, and none starts");
                return Ok(());
            }
            Some(Phase::Busy) => {
                let message = state.map(|state| state.message).unwrap_or_default();
                if told != message {
                    progress.note(&format!(
                        "{message}: it is waited for (^C leaves it draining, --now cancels it)"
                    ));
                    told.clone_from(&message);
                }
                step.doing(&message);
            }
            _ => step.doing("the runner comes to rest"),
        }
        sleep(LOOK).await;
    }
}

/// Until nothing waits for its upload.
async fn last_uploads(subject: &Subject, progress: &Progress) -> anyhow::Result<()> {
    if !subject.pushes() {
        return Ok(());
    }
    let name = &subject.installation.name;
    let step = progress.step("uploads", "waiting for the last uploads");
    let Some(place) = subject.housing.queue(&subject.installation)? else {
        step.done("nothing was ever queued");
        return Ok(());
    };
    let queue = Queue::at(&place, MOST);
    let (mut told, mut starts) = (String::new(), 0);
    loop {
        let waiting = match queue.waiting() {
            Ok(waiting) => waiting,
            Err(why) if why.kind() == io::ErrorKind::NotFound => 0,
            // Without root's rights a volume's files are another user's.
            Err(_) => {
                step.done("they cannot be seen from here: what pushes them ends when none is left");
                return Ok(());
            }
        };
        if waiting == 0 {
            step.done("nothing waits");
            return Ok(());
        }
        if !subject.pusher_runs()? {
            starts += 1;
            let started = if starts > STARTS {
                Err(anyhow::anyhow!("it ends again and again"))
            } else {
                subject.start_pusher()
            };
            started.with_context(|| {
                format!(
                    "{waiting} builds wait for their upload, and what pushes them does not run \
                     (`vega-builder logs {name} --uploads` says why; `vega-builder drain {name} --now` leaves them queued)"
                )
            })?;
        }
        let error = State::read(&place).unwrap_or_default().error;
        let now = if error.is_empty() {
            format!("{waiting} builds wait")
        } else {
            format!("{waiting} builds wait: {error}")
        };
        if !error.is_empty() && told != error {
            progress.note(&format!("{now} (--now leaves them in the queue)"));
            told = error;
        }
        step.doing(&now);
        sleep(LOOK).await;
    }
}
