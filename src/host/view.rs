use std::{fs::File, path::Path};

use nix::{
    mount::MsFlags,
    sched::{CloneFlags, setns},
};

use super::{
    Error, Folders,
    mounts::{Source, apart},
    world::{DAEMON_SOCKET, RUN},
};

/// Whoever has the host's own mounts.
const FIRST: &str = "/proc/1/ns/mnt";

/// See the host as it is, but for what a runner's nix-daemon is asked through, and what it calls after a build: those are the
/// runner's.
pub fn enter(folders: &Folders) -> Result<(), Error> {
    let host = File::open(FIRST).map_err(Error::file(FIRST))?;
    setns(host, CloneFlags::CLONE_NEWNS).map_err(Error::Namespace)?;
    apart()?;
    let run = folders.run();
    Source::open(&run.join(DAEMON_FOLDER))?.bind(Path::new(DAEMON_SOCKET), MsFlags::empty())?;
    Source::open(&run)?.bind(Path::new(RUN), MsFlags::empty())
}

/// Its socket's folder, in [`Folders::run`].
pub const DAEMON_FOLDER: &str = "daemon-socket";
