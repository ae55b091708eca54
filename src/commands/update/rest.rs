//! A runner comes to rest for a change, and goes on by itself when whoever makes the change is gone.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::sleep;

use crate::{
    commands::steps::subject::Subject,
    contract::Phase,
    installation::{Error, Installation},
    progress::Progress,
    value::RunnerName,
};

/// Between two looks; the lease is renewed as often.
const LOOK: Duration = Duration::from_millis(500);

/// Held while no job is to start, however long what is done meanwhile takes. Left by a process that dies, it lapses; ended
/// by who starts the other image, it is not laid again.
pub struct Lease {
    installation: Installation,
    ended: Option<Sender<()>>,
    renewing: Option<JoinHandle<()>>,
}

impl Lease {
    pub fn take(installation: &Installation) -> Result<Self, Error> {
        installation.lease_drain()?;
        let (ended, ending) = channel();
        let renewed = installation.clone();
        let renewing = thread::spawn(move || {
            while ending.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let _ = renewed.renew_lease();
            }
        });
        Ok(Self { installation: installation.clone(), ended: Some(ended), renewing: Some(renewing) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.ended.take());
        let _ = self.renewing.take().map(JoinHandle::join);
        // It lapses by itself anyhow.
        let _ = self.installation.end_lease();
    }
}

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

#[cfg(test)]
mod tests {
    use std::{fs, thread, time::SystemTime};

    use super::{LOOK, Lease};
    use crate::{contract::DRAIN_LEASE, installation::Places};

    #[test]
    fn a_step_that_takes_long_lets_no_job_in_and_an_ended_lease_is_not_laid_again() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let places = Places {
            state: at("state"),
            runtime: at("run"),
            declarations: at("runners"),
            cache: at("cache"),
        };
        let runner = places.installation(&"vega-x".parse().unwrap());
        runner.make_handover(None).unwrap();
        let (file, lease) = (runner.handover.join("drain"), Lease::take(&runner).unwrap());
        let old = SystemTime::now() - DRAIN_LEASE * 2;
        fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
        // Whoever took it does something else, for longer than the lease.
        thread::sleep(LOOK * 3);
        assert!(file.metadata().unwrap().modified().unwrap().elapsed().unwrap() < DRAIN_LEASE / 2);
        runner.end_lease().unwrap();
        thread::sleep(LOOK * 3);
        assert!(!file.exists(), "the other image would find it, and rest");
        drop(lease);
    }
}
