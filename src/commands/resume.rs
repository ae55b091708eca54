//! `resume`: a drained runner takes jobs again.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;

use super::{
    prepare,
    prove::prove,
    steps::{ending::has_unit, listening::until_listening, subject::Subject},
};
use crate::{
    contract::Phase,
    installation::Error,
    progress::{Output, Progress},
    systemd,
};

/// Have a drained runner take jobs again
///
/// What still drains goes on as if nothing had been said. What has stopped starts, as after a reboot: its image is verified
/// again, the saved registration serves, and no token is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder resume
  vega-builder resume octo-org/heavy-builds --output json")]
pub struct Resume {
    /// The runner's name, its repository or its organisation, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    runner: Option<String>,
    /// How long to wait for the runner to listen, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    wait: u64,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Another command of ours may be about to end.
const PATIENCE: Duration = Duration::from_secs(60);

impl Resume {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let subject = Subject::find(self.runner.as_deref())?;
        let name = &subject.installation.name;
        let gave_up = subject.installation.runner_state().is_some_and(|state| state.phase == Phase::GaveUp);
        let was_drained = subject.installation.resume()?;
        if gave_up {
            progress.note(&format!("{name} had given up, and tries again"));
        } else if !was_drained {
            progress.note(&format!("{name} was not drained"));
        }
        let began = Timestamp::now();
        if subject.is_ephemeral && !has_unit(name) {
            if !subject.is_kept() {
                return Err(Error::SlotsNotKept(name.to_string()).into());
            }
        } else if subject.installation.is_declared() {
            start_unit(&subject, &progress)?;
        } else {
            start_container(&subject, &progress).await?;
        }
        if subject.is_ours_inside() {
            let step = progress.step("online", "waiting for the runner to listen");
            until_listening(&subject, began, Duration::from_secs(self.wait), &step).await?;
            step.done("it listens");
        }
        let text = format!("{name} takes jobs");
        progress.result(&text, &json!({ "name": name, "was_drained": was_drained }));
        Ok(ExitCode::SUCCESS)
    }
}

/// The unit verifies what it starts by itself.
fn start_unit(subject: &Subject, progress: &Progress) -> anyhow::Result<()> {
    let service = systemd::service_name(&subject.installation.name);
    let step = progress.step("start", "starting the unit");
    if subject.pushes() {
        subject.start_pusher()?;
    }
    if systemd::property(&service, "ActiveState") == "active" {
        step.done(&format!("{service} runs"));
        return Ok(());
    }
    // One that gave up starts counting anew.
    let _ = systemd::systemctl(&["reset-failed", "--quiet", &service]);
    systemd::systemctl(&["start", "--no-block", &service])?;
    step.done(&format!("{service} starts"));
    Ok(())
}

/// As the unit does that starts it after a reboot: verified again, and its caps proven.
async fn start_container(subject: &Subject, progress: &Progress) -> anyhow::Result<()> {
    let (engine, name) = (subject.engine()?, &subject.installation.name);
    if subject.running()?.is_none() {
        let locked = subject.installation.lock_patiently(PATIENCE)?;
        let (image, _) = prepare::installed(&locked, progress).await?;
        let step = progress.step("start", "starting the container");
        let record = locked.record()?.context("the record is gone")?;
        anyhow::ensure!(
            engine.inspect(name.as_str())?.is_some(),
            "its container is gone; type `{}`",
            locked.to_make_whole()
        );
        locked.make_handover(locked.store()?.and_then(|store| store.userns_base))?;
        // What an earlier start said of itself says nothing of this one.
        locked.forget_state();
        engine.start(name)?;
        let running = subject.running()?.with_context(|| format!("{name} ended at once"))?;
        if let Err(error) = prove(engine, &record, &running) {
            engine.stop(name)?;
            return Err(error);
        }
        step.done(&format!("{name} runs {}, under its caps", image.verified.value().short()));
    }
    if systemd::is_ours_to_arrange() {
        // A boot that found it drained has passed it over.
        systemd::begin(name)?;
    }
    if subject.pushes() && !subject.pusher_runs()? {
        subject.start_pusher()?;
    }
    Ok(())
}
