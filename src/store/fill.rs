//! Fetching from caches what somebody names, and nothing else: no build, and no path that no cache has signed.

use std::{os::unix::process::CommandExt as _, path::Path, process::Stdio, thread, time::Duration};

use harmonia_store_core::store_path::StorePath;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{Budget, Error, Reserve, held, nix::nix_store};
use crate::{
    contract,
    engine::Filled,
    runner::{ASKED, children, stop, user},
};

/// So many at once: then it is looked whether there is room for more.
const AT_ONCE: usize = 50;
const LOOK: Duration = Duration::from_millis(200);
const KILLED: Duration = Duration::from_secs(5);

/// Fetch what of `wanted` the configured caches have, with all that it refers to, until the store holds as much as it may.
pub fn fill(wanted: &[StorePath], budget: Budget, reserve: Reserve) -> Result<Filled, Error> {
    let mut filled = Filled::default();
    for names in wanted.chunks(AT_ONCE) {
        filled.full = no_room(budget, reserve)?;
        if filled.full.is_some() {
            break;
        }
        let paths: Vec<String> = names.iter().map(|name| format!("{}/{name}", contract::STORE)).collect();
        realise(&paths, reserve, &mut filled)?;
        filled.fetched.extend(valid(&paths)?);
    }
    filled.fetched.sort();
    filled.fetched.dedup();
    Ok(filled)
}

fn no_room(budget: Budget, reserve: Reserve) -> Result<Option<String>, Error> {
    if let Some(why) = short(reserve) {
        return Ok(Some(why));
    }
    let is_beyond = budget.excess(held()?).is_some();
    Ok(is_beyond.then(|| format!("the store that jobs begin with holds {budget}, and may hold no more")))
}

fn short(reserve: Reserve) -> Option<String> {
    reserve.shortage(&[Path::new(contract::STORE_MOUNT)]).map(|shortage| shortage.said)
}

/// Nix is ended before its end when the disk gets full, or when told to stop.
fn realise(paths: &[String], reserve: Reserve, filled: &mut Filled) -> Result<(), Error> {
    let failed =
        |why: std::io::Error| Error::Nix { command: "nix-store --realise".to_owned(), why: why.to_string() };
    let mut command = user::as_root("nix-store");
    command.args(["--realise", "--keep-going", "--option", "max-jobs", "0", "--option", "builders", ""]);
    command.args(paths).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    let mut child = children::spawn(command.stderr(Stdio::null())).map_err(failed)?;
    // It fails when one of them is nowhere, and has fetched the others.
    while child.ended().is_none() {
        filled.full = short(reserve);
        if filled.full.is_some() || stop::ordered() {
            let _ = killpg(Pid::from_raw(child.pid()), Signal::SIGKILL);
            child.terminate(Signal::SIGKILL, KILLED);
            break;
        }
        thread::sleep(LOOK);
    }
    if stop::ordered() { Err(failed(std::io::Error::other(ASKED))) } else { Ok(()) }
}

/// The names of those that are there, and of all that they refer to.
fn valid(paths: &[String]) -> Result<Vec<String>, Error> {
    let ask = |query: [&str; 2], paths: &[&str]| nix_store(&[&query, paths].concat(), Stdio::null());
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let invalid = ask(["--check-validity", "--print-invalid"], &paths)?;
    let is_valid = |path: &&str| !invalid.lines().any(|line| line == *path);
    let valid: Vec<&str> = paths.iter().copied().filter(is_valid).collect();
    if valid.is_empty() {
        return Ok(Vec::new());
    }
    let all = ask(["--query", "--requisites"], &valid)?;
    let name = |path: &str| Some(Path::new(path).file_name()?.to_str()?.to_owned());
    Ok(all.lines().filter_map(name).collect())
}
