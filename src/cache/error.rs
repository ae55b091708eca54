//! What can go wrong between a store and a cache.

use std::{io, path::PathBuf};

use nix::errno::Errno;
use reqwest::StatusCode;

use super::{
    key::KeyError,
    place::LoginError,
    secrets::Finding,
    vega::{CredentialError, device::DeviceError},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{command}: {why}")]
    Nix { command: String, why: String },
    #[error("{path}: {why}")]
    Read { path: String, why: io::Error },
    #[error(
        "the content of {path} is not what its hash says: nothing of it was announced; `nix-store --verify-path {path}` tells more"
    )]
    Damaged { path: String },
    #[error(
        "{path} is in a store that is not on this machine, and cannot be looked through for secrets: push it from where it is, or add --no-secret-scan"
    )]
    NotHere { path: String },
    #[error("'{given}' is no binary cache: {why}")]
    Address { given: String, why: String },
    #[error("{}: {why}", .path.display())]
    Disk { path: PathBuf, why: io::Error },
    #[error(
        "{url}: {why}; type the same command again when it can be reached: what is done already stays done"
    )]
    Network { url: String, why: String },
    #[error("{url}: the cache answered {status}{said}")]
    Refused { url: String, status: StatusCode, said: String, wait: Option<std::time::Duration> },
    #[error("{url}: nothing went through for {seconds} s; type the same command again to go on")]
    Stalled { url: String, seconds: u64 },
    #[error("{url} answers with something else than Vega's control plane does: is it one?")]
    NotUnderstood { url: String },
    #[error("the right to write {url} lapsed twice before it was there: the line is too slow for its size")]
    Lapsed { url: String },
    #[error("Vega took {path} and did not publish it; `vega-builder push` of it tries again")]
    Unpublished { path: String },
    #[error("no request can be made: {0}")]
    Client(String),
    #[error("{cache} is of another store: its paths lie in {theirs}, and ours in {ours}")]
    OtherStore { cache: String, theirs: String, ours: String },
    #[error("{}", .0)]
    Secret(Finding),
    #[error("{0}")]
    ObjectStore(#[from] object_store::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Login(#[from] CredentialError),
    #[error(transparent)]
    CacheLogin(#[from] LoginError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl Error {
    /// Whether the same request may go better a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Stalled { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            _ => false,
        }
    }

    /// Whether it is about this one path, which no other try makes better, and no other path has to wait for. What this
    /// process lacks for the moment is no path's fault: such a path would be lost.
    pub fn is_of_its_path(&self) -> bool {
        match self {
            // Nix is asked for a path whose names it alone can read, and is not on every host.
            Self::Damaged { .. } | Self::Nix { .. } => true,
            Self::Read { why, .. } => {
                let code = why.raw_os_error().map(Errno::from_raw);
                !matches!(code, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM))
            }
            Self::Refused { status, .. } => *status == StatusCode::PAYLOAD_TOO_LARGE,
            _ => false,
        }
    }

    /// How long the other side wants us to wait.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Refused { wait, .. } => *wait,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use nix::errno::Errno;

    use super::Error;

    #[test]
    fn a_path_is_not_given_up_because_too_many_files_are_open() {
        let read = |errno: Errno| Error::Read { path: "x".into(), why: io::Error::from(errno) };
        assert!(read(Errno::ENOENT).is_of_its_path() && read(Errno::EIO).is_of_its_path());
        assert!(!read(Errno::EMFILE).is_of_its_path() && !read(Errno::ENOMEM).is_of_its_path());
    }
}
