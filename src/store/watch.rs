//! The image's closure, watched while the runner runs: what is missing or changed shows within a minute, and not only when
//! a job fails on it.
//!
//! Reading every byte each minute would keep a disk busy for nothing. What the file system says of each file (its size,
//! its number, the time of its last change) is cheap to ask; only when that differs are hashes compared.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash as _, Hasher as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use super::{Closure, Error};

const EVERY: Duration = Duration::from_secs(40);
/// Of what has changed, and could not be looked at: so soon again, and so often.
const AGAIN: Duration = Duration::from_secs(5);
const TRIES: u32 = 3;
/// The walk goes no deeper than a store path does.
const STACK: usize = 512 * 1024;

/// Ends its thread when it goes.
pub struct Watch {
    damage: Arc<Mutex<Option<String>>>,
    _end: Sender<()>,
}

impl Watch {
    /// From a closure that has just been found whole.
    pub fn over(closure: &Closure, paths: Vec<PathBuf>) -> std::io::Result<Self> {
        let damage: Arc<Mutex<Option<String>>> = Arc::default();
        let (told, closure) = (Arc::clone(&damage), closure.clone());
        let (end, ended) = channel();
        let mut before = fingerprint(&paths);
        thread::Builder::new().stack_size(STACK).spawn(move || {
            let mut failures = 0;
            let pause = |failures| if failures == 0 { EVERY } else { AGAIN };
            while ended.recv_timeout(pause(failures)) == Err(RecvTimeoutError::Timeout) {
                let now = fingerprint(&paths);
                if now == before {
                    failures = 0;
                    continue;
                }
                match whole(&closure, &paths) {
                    // Files that were made one, say, by somebody who saves room.
                    Ok(()) => (before, failures) = (now, 0),
                    // No memory for another process, say, or it was told to stop: the next time.
                    Err(error) if !error.is_damage() && !error.is_without_nix() => failures = 0,
                    Err(error) if !error.is_damage() && failures + 1 < TRIES => failures += 1,
                    Err(error) => {
                        let error = error.or_unseen();
                        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                        return;
                    }
                }
            }
        })?;
        Ok(Self { damage, _end: end })
    }

    /// What is damaged, from then on.
    pub fn damage(&self) -> Option<String> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is there no more is seen without Nix, of which it may be a part.
fn whole(closure: &Closure, paths: &[PathBuf]) -> Result<(), Error> {
    match paths.iter().find(|path| path.symlink_metadata().is_err()) {
        Some(path) => Err(Error::Incomplete { path: path.display().to_string() }),
        None => closure.check().map(drop),
    }
}

/// Of all files in these trees, as the file system describes them.
fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        describe(path, &mut hasher);
    }
    hasher.finish()
}

fn describe(path: &Path, hasher: &mut DefaultHasher) {
    let Ok(found) = path.symlink_metadata() else {
        "missing".hash(hasher);
        return;
    };
    (found.ino(), found.size(), found.mode()).hash(hasher);
    // A file that other stores share changes whenever it gets another name, or loses one.
    if found.is_file() && found.nlink() > 1 {
        (found.mtime(), found.mtime_nsec()).hash(hasher);
    } else {
        (found.ctime(), found.ctime_nsec()).hash(hasher);
    }
    if found.is_dir() {
        // A folder keeps its order while nothing in it changes.
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            entry.file_name().hash(hasher);
            describe(&entry.path(), hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::fingerprint;

    #[test]
    fn a_changed_a_missing_and_a_replaced_file_show() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bin/program");
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(&file, "one").unwrap();
        let paths = [folder.path().to_owned()];
        let mut seen = vec![fingerprint(&paths)];
        assert_eq!(seen, [fingerprint(&paths)]);
        let mut differs = || {
            let now = fingerprint(&paths);
            assert!(!seen.contains(&now));
            seen.push(now);
        };
        // The same size: only the time of the change tells.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&file, "two").unwrap();
        differs();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        differs();
        fs::write(folder.path().join("bin/.new"), "two").unwrap();
        fs::rename(folder.path().join("bin/.new"), &file).unwrap();
        differs();
        fs::remove_file(&file).unwrap();
        differs();
        fs::remove_dir_all(folder.path()).unwrap();
        differs();
    }
}
