//! A host in the place of an image: for people who run Nix on it already, and no container.
//!
//! [`World`] gives the supervisor and the jobs of one runner the names that an image has, in a mount namespace of their own;
//! [`JobsUser`] is the user that they are.

mod unpacked;
mod user;
mod world;

use std::path::{Path, PathBuf};

pub use unpacked::{Unpacked, expect_nix};
pub use user::JobsUser;
pub use world::World;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {why}", .path.display())]
    File { path: PathBuf, why: std::io::Error },
    #[error("mounting {}: {why}", .path.display())]
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
    #[error("the user {0} is root's, or of root's group: no job can be that")]
    RootUser(String),
}

impl Error {
    fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |why| Self::File { path, why }
    }
}

/// What of a runner's folder is the runner's own: its home and its root. For root and the jobs' group alone.
pub fn folder(state: &Path) -> PathBuf {
    state.join("host")
}

/// The queue of its builds, for root alone.
pub fn queue(state: &Path) -> PathBuf {
    state.join("queue")
}
