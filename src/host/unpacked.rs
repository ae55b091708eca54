use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::Error;

const LISTENER: &str = "bin/Runner.Listener";

/// Where GitHub's runner really is, that was unpacked in `folder`: it is given tokens, and jobs with their secrets, so nobody but
/// root can change any of it. A link to it may be another's, who could turn it once this was looked at: take what this gives.
pub fn unpacked(folder: &Path) -> Result<PathBuf, Error> {
    let none = || Error::NoRunner(folder.to_owned());
    let real = folder.canonicalize().map_err(|_| none())?;
    if !real.join(LISTENER).is_file() {
        return Err(none());
    }
    if let Some(place) = ["bin", "externals"].iter().find_map(|part| open_to_others(&real.join(part))) {
        return Err(Error::OpenRunner { place, mend: real, how: "-R " });
    }
    match real.ancestors().find(|place| is_open(place)) {
        None => Ok(real),
        Some(place) => Err(Error::OpenRunner { place: place.to_owned(), mend: place.to_owned(), how: "" }),
    }
}

/// The first place in a tree that others than root can change.
fn open_to_others(place: &Path) -> Option<PathBuf> {
    if is_open(place) {
        return Some(place.to_owned());
    }
    if !place.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return None;
    }
    fs::read_dir(place).into_iter().flatten().flatten().find_map(|entry| open_to_others(&entry.path()))
}

fn is_open(place: &Path) -> bool {
    place.metadata().is_ok_and(|found| {
        // A sticky folder like /tmp lets nobody replace another's file.
        let shared = found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0;
        found.uid() != 0 || shared
    })
}

/// The daemon, wherever a host has its programs.
const DAEMONS: [&str; 4] = [
    "/nix/var/nix/profiles/default/bin/nix-daemon",
    "/run/current-system/sw/bin/nix-daemon",
    "/usr/local/bin/nix-daemon",
    "/usr/bin/nix-daemon",
];

/// That this host has a Nix of root's, which builds as users of its own.
pub fn expect_nix() -> Result<(), Error> {
    if !DAEMONS.iter().any(|daemon| Path::new(daemon).exists()) {
        return Err(Error::NoNix("no nix-daemon"));
    }
    match Path::new("/nix/store").metadata() {
        Ok(store) if store.uid() == 0 => {}
        Ok(_) => return Err(Error::NoNix("a store of one person's (/nix/store is not root's)")),
        Err(_) => return Err(Error::NoNix("no /nix/store")),
    }
    match nix::unistd::Group::from_name("nixbld") {
        Ok(Some(group)) if !group.mem.is_empty() => Ok(()),
        _ => Err(Error::NoNix("no users that builds run as (the members of the group nixbld)")),
    }
}
