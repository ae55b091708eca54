//! The closure that the image is made of: known to Nix, held by a root, and whole.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{Error, nix::nix_store};
use crate::{contract, runner::say};

const DATABASE: &str = "/nix/var/nix/db";
const GC_ROOTS: &str = "/nix/var/nix/gcroots/vega-builder";
/// So many paths fit into one command line, with room to spare.
const AT_ONCE: usize = 500;

/// The image's closure, by its root.
#[derive(Clone)]
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
        match self.load().map_err(Error::or_unseen) {
            Err(error) if error.is_of_the_database() => {
                say(&format!(
                    "{error}: the database is made anew, and what earlier builds left is built again"
                ));
                fs::remove_dir_all(DATABASE).map_err(|why| Error::file(DATABASE, why))?;
                self.load()?;
            }
            other => other?,
        }
        self.hold()
    }

    fn load(&self) -> Result<(), Error> {
        let file = File::open(&self.registration).map_err(|why| Error::file(&self.registration, why))?;
        nix_store(&["--load-db"], Stdio::from(file)).map(drop)
    }

    fn hold(&self) -> Result<(), Error> {
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

    /// Whether garbage can be collected without danger to what the image is made of: Nix knows the closure
    /// and a root holds it. A root of an unknown path holds nothing.
    pub fn is_held(&self) -> bool {
        let root = self.root.to_string_lossy();
        nix_store(&["--check-validity", &root], Stdio::null()).is_ok() && self.hold().is_ok()
    }

    /// Refuse a store in which a part of the runner is missing or is not what its hash says: an offline
    /// runner leaves jobs queued, a broken one fails them. Else all that it is made of.
    pub fn check(&self) -> Result<Vec<PathBuf>, Error> {
        let incomplete = |path: &Path| Error::Incomplete { path: path.display().to_string() };
        let root = self.root.to_string_lossy();
        let requisites = nix_store(&["--query", "--requisites", &root], Stdio::null())
            .map_err(|error| damage(error, &[&root]))?;
        let paths: Vec<&str> = requisites.lines().collect();
        for path in paths.iter().map(Path::new) {
            if path.symlink_metadata().is_err() {
                return Err(incomplete(path));
            }
        }
        for some in paths.chunks(AT_ONCE) {
            let arguments = [&["--verify-path"], some].concat();
            nix_store(&arguments, Stdio::null()).map_err(|error| damage(error, some))?;
        }
        Ok(paths.into_iter().map(PathBuf::from).collect())
    }
}

/// How Nix says that a path is not what it should be; everything else that ends it says nothing of the store.
const COMPLAINTS: [&str; 4] = ["was modified", "is not valid", "does not exist", "No such file"];

fn damage(error: Error, among: &[&str]) -> Error {
    let Error::Nix { why, .. } = &error else { return error };
    // What could not be started is no word of Nix's.
    let is_ours = why.contains("(os error ");
    if is_ours || !COMPLAINTS.iter().any(|complaint| why.contains(complaint)) {
        return error;
    }
    let named = among.iter().find(|path| why.contains(**path)).or(among.first());
    Error::Damaged { path: (*named.unwrap_or(&"a path")).to_owned() }
}
