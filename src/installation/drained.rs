//! A runner that is to take no job: noted on the disk, where a reboot does not forget it, and in the handover folder, where
//! PID 1 sees it.

use std::{fs, path::PathBuf};

use jiff::Timestamp;

use super::{
    Error,
    locked::remove_file,
    places::{DRAINED, Installation},
};
use crate::contract;

/// What a drain's file has in it that a command holds.
const LEASE: &str = "lease";

/// Since when a runner takes no jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Drained {
    pub since: Timestamp,
}

impl Installation {
    /// Whether it is to take no job until somebody says so.
    pub fn drained(&self) -> Result<Option<Drained>, Error> {
        self.read(DRAINED)
    }

    /// An error that says what to type, when it is to take no job.
    pub fn expect_not_drained(&self) -> Result<(), Error> {
        let drained = self.drained()?;
        drained.map_or(Ok(()), |drained| {
            Err(Error::Drained { name: self.name.to_string(), since: drained.since })
        })
    }

    /// Have it take no job for as long as this is renewed; an operator's drain stays what it is.
    pub fn lease_drain(&self) -> Result<(), Error> {
        let path = self.drain_path();
        if self.drained()?.is_some() || !self.handover.is_dir() {
            return Ok(());
        }
        fs::write(&path, LEASE).map_err(|why| Error::file(&path, why))
    }

    /// The lease counts from now on, if it is there still.
    pub fn renew_lease(&self) -> std::io::Result<()> {
        fs::File::options().write(true).open(self.drain_path())?.set_modified(std::time::SystemTime::now())
    }

    /// The lease is over; what an operator laid stays.
    pub fn end_lease(&self) -> Result<(), Error> {
        let path = self.drain_path();
        match fs::read(&path) {
            Ok(text) if text == LEASE.as_bytes() => remove_file(&path),
            _ => Ok(()),
        }
    }

    fn drain_path(&self) -> PathBuf {
        self.handover.join(contract::HANDOVER_DRAIN)
    }
}

/// For these no right to change the runner is needed, as its slots' keeper has for as long as it makes a container: first of
/// all no job starts, or they start again.
impl Installation {
    /// Have it take no job: first where it lasts, then where the running PID 1 looks. Since when it is so.
    pub fn drain(&self) -> Result<Drained, Error> {
        if !self.state.is_dir() {
            // Declared, and never started.
            drop(self.lock()?);
        }
        let drained = match self.drained()? {
            Some(drained) => drained,
            None => Drained { since: Timestamp::now() },
        };
        self.replace(DRAINED, &drained)?;
        let path = self.drain_path();
        // Where nothing has run since the boot there is no such folder, and nobody who looks.
        if self.handover.is_dir() {
            fs::write(&path, "").map_err(|why| Error::file(&path, why))?;
        }
        Ok(drained)
    }

    /// Have it take jobs again; whether it was not to.
    pub fn resume(&self) -> Result<bool, Error> {
        let was = self.drained()?.is_some();
        remove_file(&self.state.join(DRAINED))?;
        // What another command holds is over when that says so, or is gone.
        if fs::read(self.drain_path()).is_ok_and(|text| text != LEASE.as_bytes()) {
            remove_file(&self.drain_path())?;
        }
        // One that gave up tries again.
        remove_file(&self.handover.join(contract::HANDOVER_GAVE_UP))?;
        Ok(was)
    }
}

#[cfg(test)]
mod tests {
    use crate::installation::Places;

    #[test]
    fn who_waited_to_change_a_runner_that_is_gone_makes_no_folder_of_it() {
        let root = tempfile::tempdir().unwrap();
        let runner = Places::below(root.path()).installation(&"vega-x".parse().unwrap());
        assert!(runner.hold_switch().is_err() && !runner.state.exists());
        let locked = runner.lock().unwrap();
        assert!(locked.hold_switch().is_ok());
    }

    #[test]
    fn a_resume_takes_no_lease_of_another_command() {
        let root = tempfile::tempdir().unwrap();
        let runner = Places::below(root.path()).installation(&"vega-x".parse().unwrap());
        runner.make_handover(None).unwrap();
        let file = runner.handover.join("drain");
        runner.lease_drain().unwrap();
        assert!(!runner.resume().unwrap() && file.exists());
        runner.end_lease().unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn a_drain_outlasts_a_reboot_and_its_first_hour_stays() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        let runner = places.installation(&"vega-x".parse().unwrap());
        runner.make_handover(None).unwrap();
        let locked = runner.lock().unwrap();
        assert!(!locked.resume().unwrap());
        let first = locked.drain().unwrap();
        assert_eq!((locked.drain().unwrap(), runner.handover.join("drain").exists()), (first, true));
        // As a reboot leaves /run.
        std::fs::remove_dir_all(&places.runtime).unwrap();
        assert_eq!(runner.drained().unwrap(), Some(first));
        let why = runner.expect_not_drained().unwrap_err().to_string();
        assert!(why.contains("`vega-builder resume vega-x`"), "{why}");
        assert!(locked.resume().unwrap());
        runner.expect_not_drained().unwrap();
    }
}
