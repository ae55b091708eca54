//! The closure that the image is made of: known to Nix, held by a root, and whole.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::Error;
use crate::{
    contract,
    runner::{children, user},
};

const GC_ROOTS: &str = "/nix/var/nix/gcroots/vega-builder";

/// The image's closure, by its root.
pub struct Closure {
    root: PathBuf,
    runner: PathBuf,
    registration: PathBuf,
}

impl Closure {
    /// From the variables that the image sets.
    pub fn of_image(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let path = |name| variable(name).map(PathBuf::from).ok_or(Error::NoClosure(name));
        let registration = variable(contract::env::REGINFO);
        Ok(Self {
            root: path(contract::env::BUILDER_ROOT)?,
            runner: path(contract::env::RUNNER_DIST)?,
            registration: registration.unwrap_or_else(|| contract::CLOSURE_REGISTRATION.to_owned()).into(),
        })
    }

    /// Where GitHub's runner lies.
    pub fn runner(&self) -> &Path {
        &self.runner
    }

    /// Tell Nix of the image's paths (at every boot: the volume's database may be an older image's, or new)
    /// and hold them with a root, so that no garbage collection takes the runner away.
    pub fn register(&self) -> Result<(), Error> {
        let file = File::open(&self.registration).map_err(|why| Error::file(&self.registration, why))?;
        nix_store(&["--load-db"], Stdio::from(file))?;
        let link = Path::new(GC_ROOTS).join("closure");
        let beside = Path::new(GC_ROOTS).join(".closure");
        let hold = || -> std::io::Result<()> {
            fs::create_dir_all(GC_ROOTS)?;
            let _ = fs::remove_file(&beside);
            symlink(&self.root, &beside)?;
            fs::rename(&beside, &link)
        };
        hold().map_err(|why| Error::file(&link, why))
    }

    /// Refuse a store that lacks a part of the runner: an offline runner leaves jobs queued, a broken one
    /// fails them.
    pub fn check(&self) -> Result<(), Error> {
        let incomplete = |path: &Path| Error::Incomplete { path: path.display().to_string() };
        let root = self.root.to_string_lossy();
        let requisites = nix_store(&["--query", "--requisites", &root], Stdio::null())
            .map_err(|_| incomplete(&self.root))?;
        for path in requisites.lines().map(Path::new) {
            if path.symlink_metadata().is_err() {
                return Err(incomplete(path));
            }
        }
        // The content of what runs is compared with its hash; of the rest its presence suffices.
        nix_store(&["--verify-path", &self.runner.to_string_lossy()], Stdio::null())
            .map_err(|_| incomplete(&self.runner))?;
        Ok(())
    }

    /// Whether the runner's program is still there: the cheap look between two jobs.
    pub fn is_present(&self) -> bool {
        self.runner.join("bin/Runner.Listener").exists()
    }
}

/// nix-store on the store itself, not through the daemon.
fn nix_store(arguments: &[&str], input: Stdio) -> Result<String, Error> {
    let command = format!("nix-store {}", arguments.join(" "));
    let failed = |why: String| Error::Nix { command: command.clone(), why };
    let mut process = user::as_root("nix-store");
    process.args(arguments).stdin(input);
    let output = children::output(&mut process).map_err(|why| failed(why.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(failed(text.lines().next_back().unwrap_or("no reason given").to_owned()))
}
