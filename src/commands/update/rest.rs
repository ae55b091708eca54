//! A runner comes to rest for a change, and goes on by itself when whoever makes the change is gone.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::{
    commands::steps::{lease::Lease, subject::Subject},
    contract::Phase,
    progress::Progress,
    value::RunnerName,
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// The runner goes on as it was.
#[derive(Debug, thiserror::Error)]
#[error(
    "the window is over, and {name} {why}: it goes on with the image that it has until the next window; \
     `vega-builder update {name}` waits for as long as it takes"
)]
pub struct WindowOver {
    name: RunnerName,
    why: String,
}

/// Until its job has ended and no other follows, at the latest at the end of the window; at once when it is to be `now`.
pub async fn rest(
    subject: &Subject,
    now: bool,
    until: Option<Timestamp>,
    progress: &Progress,
) -> anyhow::Result<Lease> {
    let installation = &subject.installation;
    let over = |why: &str| {
        let is_over = until.is_some_and(|until| until <= Timestamp::now());
        is_over.then(|| WindowOver { name: installation.name.clone(), why: why.to_owned() })
    };
    if let Some(over) = over("was not ready for another image before") {
        return Err(over.into());
    }
    let step = progress.step("drain", "waiting for the running job");
    let lease = Lease::take(installation)?;
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
        if let Some(over) = over(if told.is_empty() { "has not come to rest" } else { &told }) {
            return Err(over.into());
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                anyhow::bail!(
                    "broken off: {0} goes on with the image that it has; `vega-builder update {0}` tries again",
                    installation.name
                )
            }
        }
    }
    step.done("no job runs");
    Ok(lease)
}
