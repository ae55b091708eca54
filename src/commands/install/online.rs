//! The unit's start, and the wait until GitHub lists the runner as online, or the unit says why it cannot be.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::{
    commands::steps::{housing::Housing, standing, token::Token},
    config::Settings,
    contract::{Phase, State},
    engine::Layout,
    exit::NotOnline,
    github::{GitHub, Runner},
    installation::Installation,
    progress::Progress,
    systemd,
};

pub struct Waiting<'a> {
    pub settings: &'a Settings,
    pub housing: &'a Housing,
    pub installation: &'a Installation,
    pub progress: &'a Progress,
}

/// How the unit was brought up.
pub enum Began {
    /// It ran, and nothing changed.
    Before,
    At(Timestamp),
    /// It goes on with a job, and starts anew after that.
    AfterTheJob,
}

/// A container that ends and begins takes a moment.
const PAUSE: Duration = Duration::from_millis(500);

impl Waiting<'_> {
    /// Start the unit, or have the one that runs start anew when it is idle.
    pub fn start(&self, changed: bool) -> anyhow::Result<Began> {
        let service = systemd::service_name(&self.settings.name);
        let step = self.progress.step("start", "starting the unit");
        let now = Timestamp::now();
        match systemd::property(&service, "ActiveState").as_str() {
            "active" | "reloading" => {}
            // It waits for a token, say: no job can run in it.
            "activating" | "deactivating" => {
                if changed {
                    systemd::systemctl(&["restart", "--no-block", &service])?;
                }
                step.done(&format!("{service} starts"));
                return Ok(Began::At(now));
            }
            _ => {
                // One that gave up starts counting anew; one that never ran is not known by its name yet.
                let _ = systemd::systemctl(&["reset-failed", "--quiet", &service]);
                systemd::systemctl(&["start", "--no-block", &service])?;
                step.done(&format!("{service} starts"));
                return Ok(Began::At(now));
            }
        }
        if !changed {
            step.done("it runs already");
            return Ok(Began::Before);
        }
        let busy = self.state().is_some_and(|state| state.phase == Phase::Busy);
        step.doing("verifying what it will run");
        systemd::systemctl(&["reload", &service])?;
        if busy {
            step.done("a job runs: it starts anew after that");
            return Ok(Began::AfterTheJob);
        }
        step.done(&format!("{service} starts anew"));
        Ok(Began::At(now))
    }

    /// Tell the person what came of it, and a program with `more` what else there is; nothing listed: it starts anew after its job.
    pub fn tell(&self, listed: Option<&Runner>, more: &serde_json::Value) {
        let Settings { name, labels, scope, caps, .. } = self.settings;
        let Some(runner) = listed else {
            let text = format!("{name} starts anew with these settings after its job");
            return self.progress.result(&text, &json!({ "name": name, "after_the_job": true }));
        };
        let unit = systemd::service_name(name);
        let text = format!(
            "{name} is online and takes jobs with runs-on: [{}]; {unit} starts it at boot",
            labels.iter().collect::<Vec<_>>().join(", ")
        );
        let mut result = json!({
            "name": name, "repository": scope, "unit": unit, "runner_id": runner.id, "caps": caps,
        });
        if let (Some(result), Some(more)) = (result.as_object_mut(), more.as_object()) {
            result.extend(more.clone());
        }
        self.progress.result(&text, &result);
    }

    fn state(&self) -> Option<State> {
        self.installation.runner_state()
    }

    /// The runner, once GitHub lists it as online; nothing when a job holds it.
    pub async fn online(
        &self,
        github: &GitHub,
        began: Began,
        mut minted: bool,
        wait: Duration,
    ) -> anyhow::Result<Option<Runner>> {
        let since = match began {
            Began::AfterTheJob => return Ok(None),
            Began::Before => Timestamp::MIN,
            Began::At(since) => since,
        };
        let step = self.progress.step("online", "waiting for the runner to listen");
        let (name, is_ephemeral) = (&self.settings.name, self.settings.ephemeral.is_some());
        let deadline = tokio::time::Instant::now() + wait;
        let mut trouble = String::new();
        loop {
            // What the last life said of itself says nothing of this one.
            let state = self.state().filter(|state| state.since >= since && state.draining.is_empty());
            let phase = state.as_ref().map(|state| state.phase);
            match phase {
                Some(Phase::Listening | Phase::Busy) => match standing::listed(github, name, is_ephemeral)
                    .await
                {
                    Ok(Some(runner)) if runner.is_online() && runner.has_labels(&self.settings.labels) => {
                        let repository = &self.settings.scope;
                        step.done(&format!("{} is runner {} at {repository}", runner.name, runner.id));
                        return Ok(Some(runner));
                    }
                    Ok(_) => trouble.clear(),
                    Err(error) => trouble = error.to_string(),
                },
                Some(Phase::WaitingForToken) if !self.installation.has_token() && !minted => {
                    step.doing("GitHub no longer knows the saved registration: minting a token");
                    let locked = self.installation.lock_patiently(Duration::from_secs(10))?;
                    Token::mint(github, &locked, Layout::Contract).await?.lay(&locked)?;
                    minted = true;
                }
                _ => {}
            }
            let message = state.map(|state| state.message).unwrap_or_default();
            if !message.is_empty() {
                step.doing(&message);
            }
            self.expect_life(&message)?;
            if tokio::time::Instant::now() >= deadline {
                let why = format!("GitHub does not list it as online after {} s", wait.as_secs());
                let said = [why, message, trouble].into_iter().filter(|text| !text.is_empty());
                anyhow::bail!(self.not_online(&said.collect::<Vec<_>>().join("; ")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A unit that failed does not come up; one that starts again may.
    fn expect_life(&self, message: &str) -> anyhow::Result<()> {
        let service = systemd::service_name(&self.settings.name);
        let state = systemd::property(&service, "ActiveState");
        let restarts = || systemd::property(&service, "NRestarts").parse::<u32>().unwrap_or_default();
        let over = match state.as_str() {
            "failed" => true,
            // Its start may be waiting for another unit's.
            "inactive" => matches!(systemd::property(&service, "Job").as_str(), "" | "0"),
            // Three times is no accident.
            "activating" => restarts() >= 3,
            _ => false,
        };
        if !over {
            return Ok(());
        }
        let line = systemd::journal(&service);
        let why = [message, line.as_str()].into_iter().find(|text| !text.is_empty());
        anyhow::bail!(self.not_online(&format!("{service} is {state}: {}", why.unwrap_or("it said nothing"))))
    }

    fn not_online(&self, why: &str) -> NotOnline {
        let log =
            self.housing.engine().map(|engine| engine.last_log(&self.settings.name, 1)).unwrap_or_default();
        let last = if log.is_empty() { String::new() } else { format!(" (its last line: {log})") };
        NotOnline { name: self.settings.name.to_string(), why: format!("{why}{last}") }
    }
}
