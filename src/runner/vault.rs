//! The runner's root, a volume: what a job may write there, and what decides about the next one.
//!
//! All of it but the work folder and the logs is root's. The registration is kept in a folder that only root
//! can read, and laid out anew before every listener's life, readable for the runner and no more: the runner
//! reads these files at `run`, and believes a `.runner_migrated` beside them more than `.runner` itself.

use std::{
    fs, io,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use nix::{fcntl::OFlag, unistd::geteuid};
use zeroize::Zeroizing;

use super::{Ids, Quarters, tidy};
use crate::contract::KEPT;

/// What the runner's configure step writes.
pub const FILES: [&str; 3] = [".runner", ".credentials", ".credentials_rsaparams"];
/// Without these two there is no registration.
const LEAST: usize = 2;
/// Where the configure step writes while it runs.
const DESK: &str = ".registering";
/// The two folders that belong to the runner's user.
const WORK: &str = "_work";
const LOGS: &str = "_diag";
/// More than such a file has.
const LONGEST: u64 = 1 << 20;

/// The root of one runner.
#[derive(Debug, Clone)]
pub struct Vault {
    quarters: Quarters,
}

impl Vault {
    pub fn new(quarters: &Quarters) -> Self {
        Self { quarters: quarters.clone() }
    }

    /// Whose it is.
    pub fn quarters(&self) -> &Quarters {
        &self.quarters
    }

    fn root(&self) -> &Path {
        &self.quarters.root
    }

    pub fn work(&self) -> PathBuf {
        self.root().join(WORK)
    }

    /// Root's own folder, out of every job's reach.
    pub fn kept(&self) -> PathBuf {
        self.root().join(KEPT)
    }

    pub fn logs(&self) -> PathBuf {
        self.root().join(LOGS)
    }

    /// Make the root ready, whatever an older version or a job of its time left there.
    pub fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(self.root())?;
        own(self.root(), 0, 0, 0o755)?;
        let Ids { uid, gid } = self.quarters.ids;
        for (folder, uid, gid, mode) in
            [(self.work(), uid, gid, 0o755), (self.logs(), uid, gid, 0o755), (self.kept(), 0, 0, 0o700)]
        {
            // A link in its place would lead us elsewhere; a folder of a job's in the place of ours would hold
            // what the job kept for us.
            let ours = |owner: u32| uid != 0 || owner == geteuid().as_raw();
            if !folder.symlink_metadata().is_ok_and(|found| found.is_dir() && ours(found.uid())) {
                tidy::remove(&folder)?;
                fs::create_dir(&folder)?;
            }
            own(&folder, uid, gid, mode)?;
        }
        Ok(())
    }

    /// Whether a registration is kept.
    pub fn holds(&self) -> bool {
        FILES[..LEAST].iter().all(|name| self.kept().join(name).is_file())
    }

    /// Take the files in `folder` into keeping: they were just written by the configure step, or lie there
    /// from a version that kept none.
    pub fn keep(&self, folder: &Path) -> io::Result<()> {
        for (number, name) in FILES.into_iter().enumerate() {
            match read_plain(&folder.join(name)) {
                Ok(text) => write(&self.kept().join(name), &text, 0, 0o600)?,
                Err(why) if why.kind() == io::ErrorKind::NotFound && number >= LEAST => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Take these contents into keeping.
    pub fn keep_these<'a>(&self, files: impl Iterator<Item = (&'static str, &'a [u8])>) -> io::Result<()> {
        for (name, content) in files {
            write(&self.kept().join(name), content, 0, 0o600)?;
        }
        Ok(())
    }

    /// A note beside the copies, for root alone.
    pub fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.kept().join(name)).ok()
    }

    pub fn write_note(&self, name: &str, text: &str) -> io::Result<()> {
        write(&self.kept().join(name), text.as_bytes(), 0, 0o600)
    }

    pub fn remove_note(&self, name: &str) -> io::Result<()> {
        tidy::remove(&self.kept().join(name))
    }

    /// A folder of the runner's user for the configure step; no job is there to see it.
    pub fn desk(&self) -> io::Result<PathBuf> {
        let desk = self.root().join(DESK);
        tidy::remove(&desk)?;
        fs::create_dir(&desk)?;
        let Ids { uid, gid } = self.quarters.ids;
        own(&desk, uid, gid, 0o700)?;
        Ok(desk)
    }

    /// Lay everything out for a listener: the kept files, what every job starts with, and nothing else.
    pub fn lay_out(&self, environment: &str, path: &str) -> io::Result<()> {
        self.prepare()?;
        self.remove_unexpected()?;
        write(&self.root().join(".env"), environment.as_bytes(), 0, 0o644)?;
        write(&self.root().join(".path"), path.as_bytes(), 0, 0o644)?;
        for name in FILES {
            match read_plain(&self.kept().join(name)) {
                Ok(text) => write(&self.root().join(name), &text, self.quarters.ids.gid, 0o640)?,
                Err(why) if why.kind() == io::ErrorKind::NotFound => tidy::remove(&self.root().join(name))?,
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Forget what is kept, and what lies in the root.
    pub fn forget(&self) -> io::Result<()> {
        for name in FILES {
            tidy::remove(&self.kept().join(name))?;
            tidy::remove(&self.root().join(name))?;
        }
        self.remove_unexpected()
    }

    /// Dot files are the runner's settings (`.runner_migrated`, `.setup_info`, …), so none is there that we
    /// did not write; and nothing else that belongs to the jobs' user.
    fn remove_unexpected(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.root())? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if [WORK, LOGS, KEPT].contains(&&*name) || FILES.contains(&&*name) {
                continue;
            }
            if name.starts_with('.') || entry.metadata()?.uid() == self.quarters.ids.uid {
                tidy::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Another owner only where it differs: a test's folders are the tester's own.
fn own(path: &Path, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
    let found = path.metadata()?;
    if geteuid().is_root() && (found.uid(), found.gid()) != (uid, gid) {
        chown(path, Some(uid), Some(gid))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// A plain file: no link that leads elsewhere, no pipe that never ends.
fn read_plain(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is no plain file"));
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// Write a file of root's, whole, whatever lay there before.
fn write(path: &Path, text: &[u8], gid: u32, mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, text)?;
    own(file.path(), 0, gid, mode)?;
    file.as_file().sync_all()?;
    if path.is_dir() {
        tidy::remove(path)?;
    }
    file.persist(path).map_err(|error| error.error)?;
    // Its new name, too, is to be there after a power cut.
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::{FILES, Quarters, Vault};

    fn kept() -> (tempfile::TempDir, Vault) {
        let root = tempfile::tempdir().unwrap();
        let vault = Vault::new(&Quarters::of_image(root.path()));
        vault.prepare().unwrap();
        let desk = root.path().join("desk");
        fs::create_dir(&desk).unwrap();
        for name in FILES {
            fs::write(desk.join(name), name).unwrap();
        }
        vault.keep(&desk).unwrap();
        (root, vault)
    }

    #[test]
    fn what_a_job_changed_is_laid_out_anew_from_what_it_could_not_read() {
        let (root, vault) = kept();
        fs::write(root.path().join(".runner"), "mallory's").unwrap();
        fs::write(root.path().join(".runner_migrated"), "mallory's").unwrap();
        fs::write(root.path().join(".credentials_migrated"), "mallory's").unwrap();
        symlink("/etc", root.path().join(".setup_info")).unwrap();
        vault.lay_out("A=B\n", "/bin").unwrap();
        for name in FILES {
            let path = root.path().join(name);
            assert_eq!(fs::read_to_string(&path).unwrap(), name);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        }
        for name in [".runner_migrated", ".credentials_migrated", ".setup_info"] {
            assert!(root.path().join(name).symlink_metadata().is_err(), "{name}");
        }
        assert_eq!(root.path().join(".vega").metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_link_in_place_of_the_work_folder_is_replaced_and_not_followed() {
        let (root, vault) = kept();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::remove_dir(vault.work()).unwrap();
        symlink(elsewhere.path(), vault.work()).unwrap();
        vault.prepare().unwrap();
        assert!(vault.work().symlink_metadata().unwrap().is_dir());
        assert!(elsewhere.path().exists());
        drop(root);
    }

    #[test]
    fn a_link_is_not_taken_into_keeping() {
        let (root, vault) = kept();
        let desk = root.path().join("desk");
        fs::remove_file(desk.join(".runner")).unwrap();
        symlink("/etc/passwd", desk.join(".runner")).unwrap();
        vault.keep(&desk).unwrap_err();
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let (root, vault) = kept();
        vault.lay_out("", "").unwrap();
        fs::write(root.path().join(".runner_migrated"), "").unwrap();
        assert!(vault.holds());
        vault.forget().unwrap();
        assert!(!vault.holds() && !root.path().join(".runner_migrated").exists());
    }
}
