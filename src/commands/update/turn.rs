//! One command at a time changes a runner's image: the next one looks once the first has ended, and finds what it left.

use std::{fs::File, time::Duration};

use nix::fcntl::Flock;
use tokio::time::sleep;

use crate::{
    installation::{Error, Installation},
    progress::Progress,
};

const LOOK: Duration = Duration::from_millis(200);

/// Held from the first look at what runs until another image listens.
pub async fn turn(installation: &Installation, progress: &Progress) -> Result<Flock<File>, Error> {
    let mut is_told = false;
    loop {
        match installation.hold_switch() {
            Err(Error::Switching { name, pid }) => {
                if !is_told {
                    progress.note(&format!(
                        "another vega-builder (process {pid}) changes the image of {name}, and goes first; while it \
                         waits for a job, `kill {pid}` calls it off"
                    ));
                    is_told = true;
                }
                sleep(LOOK).await;
            }
            other => return other,
        }
    }
}
