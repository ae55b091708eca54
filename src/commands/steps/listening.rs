//! The wait until PID 1 of a runner says that it listens, or why it does not.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{ending::has_unit, subject::Subject};
use crate::{contract::Phase, exit::NotOnline, progress::Step, systemd};

const LOOK: Duration = Duration::from_millis(200);
/// A unit that starts so often is no accident.
const RESTARTS: u32 = 3;

/// Until it listens, or is at work; what was said before `began` says nothing of it.
pub async fn until_listening(
    subject: &Subject,
    began: Timestamp,
    patience: Duration,
    step: &Step<'_>,
) -> Result<(), NotOnline> {
    let until = Instant::now() + patience;
    loop {
        let state = subject.installation.runner_state();
        match &state {
            // It may have had a job all the while.
            Some(state) if state.phase == Phase::Busy && state.draining.is_empty() => return Ok(()),
            Some(state) if state.phase == Phase::Listening && state.draining.is_empty() => return Ok(()),
            Some(state) if matches!(state.phase, Phase::Stopping | Phase::GaveUp) && state.since > began => {
                return Err(not_online(subject, &state.message));
            }
            Some(state) => step.doing(&state.message),
            None => {}
        }
        // Somebody else wants it to be silent.
        subject.installation.expect_not_drained().map_err(|why| not_online(subject, &why.to_string()))?;
        let said = state.map(|state| state.message).unwrap_or_default();
        let why = if said.is_empty() { "it says nothing of itself" } else { &said };
        if subject.installation.is_declared()
            && (!subject.is_ephemeral || has_unit(&subject.installation.name))
        {
            expect_unit(subject, why)?;
        }
        if Instant::now() >= until {
            return Err(not_online(subject, &format!("not after {} s: {why}", patience.as_secs())));
        }
        sleep(LOOK).await;
    }
}

/// A unit that failed does not come up by itself.
fn expect_unit(subject: &Subject, why: &str) -> Result<(), NotOnline> {
    let service = systemd::service_name(&subject.installation.name);
    let state = systemd::property(&service, "ActiveState");
    let restarts = || systemd::property(&service, "NRestarts").parse::<u32>().unwrap_or_default();
    if state == "failed" || state == "activating" && restarts() >= RESTARTS {
        let line = systemd::journal(&service);
        let last = if line.is_empty() { why } else { &line };
        return Err(not_online(subject, &format!("{service} is {state}: {last}")));
    }
    Ok(())
}

fn not_online(subject: &Subject, why: &str) -> NotOnline {
    NotOnline { name: subject.installation.name.to_string(), why: why.to_owned() }
}
