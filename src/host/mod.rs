//! A host in the place of an image: for people who run Nix on it already, and no container.
//!
//! [`World`] gives the supervisor and the jobs of one runner the names that an image has, in a mount namespace of their own;
//! [`JobsUser`] is the user that they are. Their nix-daemon alone sees the host as it is ([`enter_host_view`]): Nix takes a
//! root that leads to what it cannot see for one that leads nowhere, and would collect what everybody else holds.

mod mounts;
mod unpacked;
mod user;
mod view;
mod world;

use std::path::PathBuf;

pub use unpacked::{expect_nix, unpacked};
pub use user::JobsUser;
pub use view::enter as enter_host_view;
pub use world::World;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {why}; check the disk, and type `vega-builder up --host` again, which makes what is missing", .path.display())]
    File { path: PathBuf, why: std::io::Error },
    #[error("mounting {}: {why}; the service wants root's rights, and mounts: type `systemd-detect-virt --container`, and leave --host out in one that allows none", .path.display())]
    Mount { path: PathBuf, why: nix::Error },
    #[error("a mount namespace of its own: {0}; this needs root's rights")]
    Namespace(nix::Error),
    #[error(
        "there is a user {0} on this host that is not ours; choose another name with --name, or remove it with `userdel {0}` when nobody needs it"
    )]
    UserTaken(String),
    #[error("the user {0} is not there; type `vega-builder up` again, which makes it")]
    NoUser(String),
    #[error(
        "GitHub's runner is not in {}: unpack it there (https://github.com/actions/runner/releases), and type `sudo {}/bin/installdependencies.sh`; or name its folder with --host=FOLDER",
        .0.display(), .0.display()
    )]
    NoRunner(PathBuf),
    #[error(
        "without a container, jobs build with this host's Nix, and here is {0}: install it for several users (https://nix.dev/install-nix), or leave --host out, and the image's own builds"
    )]
    NoNix(&'static str),
    #[error(
        "{} can be changed by others than root, and would be given tokens: type `chown {how}root:root {} && chmod {how}go-w {}`",
        .place.display(), .mend.display(), .mend.display()
    )]
    OpenRunner { place: PathBuf, mend: PathBuf, how: &'static str },
    #[error("the user {0} is root's, or of root's group: no job can be that")]
    RootUser(String),
}

impl Error {
    fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |why| Self::File { path, why }
    }
}

/// What of a host is one runner's own, in its folder in `/var/lib/vega-builder`. Every folder has the same name in the runner's
/// world and outside of it.
#[derive(Debug, Clone)]
pub struct Folders(pub PathBuf);

impl Folders {
    /// Home and the runner's root: for root and the jobs' group alone.
    pub fn jobs(&self) -> PathBuf {
        self.0.join("host")
    }

    /// The queue of its builds, for root alone.
    pub fn queue(&self) -> PathBuf {
        self.0.join("queue")
    }

    /// What is `/run/vega-builder` to the runner and to its nix-daemon: sockets, hooks, notes. Made anew at every start.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// nix.conf as its nix-daemon reads it, beside whatever else the host has in `/etc/nix`.
    pub fn nix(&self) -> PathBuf {
        self.0.join("nix")
    }

    /// What who pushes its builds has no use for: the registration, and the socket of a daemon that would trust it.
    pub fn not_for_the_pusher(&self) -> Vec<PathBuf> {
        vec![self.jobs(), self.run(), self.nix(), self.builds(), self.0.join("program")]
    }

    /// Where its nix-daemon builds: what a build leaves goes with the next job.
    pub fn builds(&self) -> PathBuf {
        self.0.join("builds")
    }

    /// A copy of this program, as it was when the runner started: an upgrade takes nothing from under it.
    pub fn program(&self) -> PathBuf {
        self.0.join("program/vega-builder")
    }
}
