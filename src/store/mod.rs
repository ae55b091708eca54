//! Inside the image: the Nix store on its volume, its daemon, and the proof that builds run in the sandbox.

mod closure;
mod configuration;
mod daemon;
mod namespaces;
mod probe;
mod seed;

pub use closure::Closure;
pub use configuration::Configuration;
pub use daemon::Daemon;
pub use namespaces::can_sandbox;
pub use probe::{probe, witness};
pub use seed::seed;

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
        "the store lacks {path}, which the runner needs; type `vega-builder up` on the host to make the store whole, or `vega-builder down` and `up` to make it anew"
    )]
    Incomplete { path: String },
    #[error("nix-daemon does not answer on its socket after {0} s; see the lines above")]
    NoDaemon(u64),
    #[error(
        "Nix cannot build in its sandbox here: {0}; the host's kernel must allow user namespaces in containers (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces); `--sandbox auto` runs without, with a warning"
    )]
    NoSandbox(String),
}

impl Error {
    fn file(path: impl Into<PathBuf>, why: std::io::Error) -> Self {
        Self::File { path: path.into(), why }
    }
}
