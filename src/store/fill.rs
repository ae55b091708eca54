//! Fetching from caches what somebody names, and nothing else: no build, and no path that no cache has signed.

use std::{
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use harmonia_store_core::store_path::StorePath;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{Budget, Error, Reserve, held, known};
use crate::{
    contract,
    engine::Filled,
    runner::{ASKED, children, stop, user},
};

/// So many at once: then it is looked whether there is room for more.
const AT_ONCE: usize = 50;
const LOOK: Duration = Duration::from_millis(200);
const KILLED: Duration = Duration::from_secs(5);

/// What bounds it.
pub struct Bounds {
    pub budget: Budget,
    pub reserve: Reserve,
    /// Nix is ended then, and what it had done by then counts.
    pub until: Instant,
}

/// Fetch what of `wanted` the configured caches have, with all that it refers to, within these bounds.
///
/// Whatever Nix knows at the end is told, and not only what was asked for: a path whose fetching failed, or was ended, may
/// have brought others that it refers to.
pub fn fill(wanted: &[StorePath], bounds: &Bounds) -> Result<Filled, Error> {
    let mut filled = Filled::default();
    for names in wanted.chunks(AT_ONCE) {
        filled.full = bounds.reached()?;
        if filled.full.is_some() || bounds.is_late() {
            break;
        }
        bounds.realise(names)?;
    }
    let mut held = 0;
    known(|path, size| {
        held += size;
        let name = Path::new(path).file_name().and_then(|name| name.to_str());
        filled.fetched.extend(name.map(str::to_owned));
    })?;
    // One that is larger than all that there may be.
    if bounds.budget.most_shared().excess(held).is_some() {
        filled.fetched.clear();
        filled.full = bounds.reached()?;
    }
    Ok(filled)
}

impl Bounds {
    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Why there is no room for more.
    fn reached(&self) -> Result<Option<String>, Error> {
        if let Some(why) = self.short() {
            return Ok(Some(why));
        }
        let most = self.budget.shared();
        let is_beyond = most.excess(held()?).is_some();
        Ok(is_beyond.then(|| format!("the store that jobs begin with may hold {most}, and is full")))
    }

    fn short(&self) -> Option<String> {
        self.reserve.shortage(&[Path::new(contract::STORE_MOUNT)]).map(|shortage| shortage.said)
    }

    /// Nix is ended before its end when the disk gets full or the time is over, and when told to stop.
    fn realise(&self, names: &[StorePath]) -> Result<(), Error> {
        let failed =
            |why: io::Error| Error::Nix { command: "nix-store --realise".to_owned(), why: why.to_string() };
        let mut command = user::as_root("nix-store");
        command.args(["--realise", "--keep-going", "--option", "max-jobs", "0", "--option", "builders", ""]);
        command.args(names.iter().map(|name| format!("{}/{name}", contract::STORE)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // It fails when one of them is nowhere, and has fetched the others.
        let mut child = children::spawn(&mut command).map_err(failed)?;
        while child.ended().is_none() {
            if self.short().is_some() || self.is_late() || stop::ordered() {
                let _ = killpg(Pid::from_raw(child.pid()), Signal::SIGKILL);
                child.terminate(Signal::SIGKILL, KILLED);
                break;
            }
            thread::sleep(LOOK);
        }
        if stop::ordered() { Err(failed(io::Error::other(ASKED))) } else { Ok(()) }
    }
}
