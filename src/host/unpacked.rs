use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::Error;

/// GitHub's runner, as its owner has unpacked it.
#[derive(Debug, Clone)]
pub struct Unpacked(pub PathBuf);

const LISTENER: &str = "bin/Runner.Listener";

impl Unpacked {
    /// That it is there, and nobody's but root's to change: it is given tokens, and jobs with their secrets.
    pub fn expect(&self) -> Result<(), Error> {
        let real = self.0.canonicalize().map_err(|_| Error::NoRunner(self.0.clone()))?;
        if !real.join(LISTENER).is_file() {
            return Err(Error::NoRunner(self.0.clone()));
        }
        let is_open = |place: &Path| {
            place.metadata().is_ok_and(|found| {
                let shared = found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0;
                found.uid() != 0 || shared
            })
        };
        let inside = [LISTENER, "bin", "externals"].map(|part| real.join(part));
        let places = inside.iter().map(PathBuf::as_path).chain(real.ancestors());
        match places.filter(|place| place.exists()).find(|place| is_open(place)) {
            None => Ok(()),
            Some(place) => Err(Error::OpenRunner { place: place.to_owned(), folder: self.0.clone() }),
        }
    }
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
