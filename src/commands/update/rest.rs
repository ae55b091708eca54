//! A runner comes to rest for a change, and goes on by itself when whoever makes the change is gone.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    commands::steps::subject::Subject, contract::Phase, installation::Installation, progress::Progress,
};

/// Between two looks; the lease is renewed as often.
const LOOK: Duration = Duration::from_millis(500);

/// Held while no job is to start. Dropped, or left by a process that dies, it lapses.
pub struct Lease<'a>(&'a Installation);

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // It lapses within a minute anyhow.
        let _ = self.0.end_lease();
    }
}

/// Until its job has ended and no other follows; at once when it is to be `now`.
pub async fn rest<'a>(subject: &'a Subject, now: bool, progress: &Progress) -> anyhow::Result<Lease<'a>> {
    let installation = &subject.installation;
    let step = progress.step("drain", "waiting for the running job");
    installation.lease_drain()?;
    let lease = Lease(installation);
    let mut told = String::new();
    while !now && subject.running()?.is_some() {
        let state = installation.runner_state();
        match state.as_ref().map(|state| state.phase) {
            Some(Phase::Drained) => break,
            Some(Phase::Busy) => {
                let message = state.map(|state| state.message).unwrap_or_default();
                if told != message {
                    progress.note(&format!("{message}: the old image goes on until it has ended"));
                    told.clone_from(&message);
                }
                step.doing(&message);
            }
            _ => step.doing("the runner comes to rest"),
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                anyhow::bail!("broken off: {} goes on with the image that it has", installation.name)
            }
        }
        installation.lease_drain()?;
    }
    step.done("no job runs");
    Ok(lease)
}
