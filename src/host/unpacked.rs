use std::path::{Path, PathBuf};

use super::Error;

/// GitHub's runner, as its owner has unpacked it.
#[derive(Debug, Clone)]
pub struct Unpacked(pub PathBuf);

const LISTENER: &str = "bin/Runner.Listener";

impl Unpacked {
    /// That it is there.
    pub fn expect(&self) -> Result<(), Error> {
        if self.0.join(LISTENER).is_file() {
            return Ok(());
        }
        Err(Error::NoRunner(self.0.clone()))
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
    use std::os::unix::fs::MetadataExt as _;
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
