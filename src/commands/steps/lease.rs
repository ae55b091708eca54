//! No job starts for as long as a command needs that, and the runner goes on by itself when the command is gone.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::installation::{Error, Installation};

/// How often it is renewed.
const RENEW: Duration = Duration::from_millis(500);

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
            while ending.recv_timeout(RENEW) == Err(RecvTimeoutError::Timeout) {
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

#[cfg(test)]
mod tests {
    use std::{fs, thread, time::SystemTime};

    use super::{Lease, RENEW};
    use crate::{contract::DRAIN_LEASE, installation::Places};

    #[test]
    fn a_step_that_takes_long_lets_no_job_in_and_an_ended_lease_is_not_laid_again() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        let runner = places.installation(&"vega-x".parse().unwrap());
        runner.make_handover(None).unwrap();
        let (file, lease) = (runner.handover.join("drain"), Lease::take(&runner).unwrap());
        let old = SystemTime::now() - DRAIN_LEASE * 2;
        fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
        // Whoever took it does something else, for longer than the lease.
        thread::sleep(RENEW * 3);
        assert!(file.metadata().unwrap().modified().unwrap().elapsed().unwrap() < DRAIN_LEASE / 2);
        runner.end_lease().unwrap();
        thread::sleep(RENEW * 3);
        assert!(!file.exists(), "the other image would find it, and rest");
        drop(lease);
    }
}
