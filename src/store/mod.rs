//! Inside the image: the Nix store on its volume, its daemon, and the proof that builds run in the sandbox.

mod budget;
mod closure;
mod configuration;
mod daemon;
mod durable;
mod fill;
mod namespaces;
mod nix;
mod probe;
mod room;
mod seed;
mod watch;

pub use budget::{Budget, Collected, changed, held, known};
pub use closure::Closure;
pub use configuration::{Configuration, HOST as HOST_CONFIGURATION};
pub use daemon::Daemon;
pub use durable::{flush, mend, sync};
pub use fill::{Bounds, fill};
pub use namespaces::can_sandbox;
pub use nix::collect_garbage;
pub use probe::{probe, witness};
pub use room::{Reserve, Shortage};
pub use seed::seed;
pub use watch::Watch;

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {why}", .path.display())]
    File { path: PathBuf, why: std::io::Error },
    #[error("`{command}` failed: {why}")]
    Nix { command: String, why: String },
    #[error("the image names no closure: {0} is not set; this image does not keep the layout contract")]
    NoClosure(&'static str),
    #[error(
        "the store lacks {path}, which the runner needs; `vega-builder doctor` on the host says what makes the store whole"
    )]
    Incomplete { path: String },
    #[error(
        "{path} in the store is damaged: its content is not what its hash says; `vega-builder doctor` on the host says what makes the store anew"
    )]
    Damaged { path: String },
    #[error(
        "files of the image have changed in the store, and Nix cannot look at them ({0}); `vega-builder doctor` on the host says what makes the store anew"
    )]
    Unseen(String),
    #[error("what the store holds was not counted")]
    NotCounted,
    #[error("nix-daemon does not answer on its socket after {0} s; see the lines above")]
    NoDaemon(u64),
    #[error(
        "Nix cannot build in its sandbox here: {0}; the host's kernel must allow user namespaces (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces); `--sandbox auto` runs without, with a warning"
    )]
    NoSandbox(String),
}

impl Error {
    /// Whether the store must be made anew.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Incomplete { .. } | Self::Damaged { .. } | Self::Unseen(_))
    }

    /// Whether one of Nix's programs is not there, or is no program any more.
    fn is_without_nix(&self) -> bool {
        let Self::Nix { why, .. } = self else { return false };
        ["(os error 2)", "(os error 8)", "(os error 13)"].iter().any(|gone| why.ends_with(gone))
    }

    /// The same as what it means for the store.
    fn or_unseen(self) -> Self {
        if self.is_without_nix() { Self::Unseen(self.to_string()) } else { self }
    }

    /// Whether the disk is full: what is collected may help.
    pub fn is_full_disk(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Nix { .. }) && lacks_space(&self.to_string())
    }

    /// Whether Nix's own database is what a power cut left of it.
    pub fn is_of_the_database(&self) -> bool {
        let signs = ["is corrupt", "database disk image is malformed", "file is not a database"];
        matches!(self, Self::Nix { why, .. } if signs.iter().any(|sign| why.contains(sign)))
    }

    fn file(path: impl Into<PathBuf>, why: std::io::Error) -> Self {
        Self::File { path: path.into(), why }
    }
}

/// Whether an error's text, whoever wrote it, says that the disk is full.
pub fn lacks_space(why: &str) -> bool {
    ["No space left on device", "database or disk is full", "Disk quota exceeded"]
        .iter()
        .any(|sign| why.contains(sign))
}
