//! The handover folder: 0700 on a tmpfs, the token's way in and PID 1's way to say how it is.

use std::{
    fs,
    io::Write as _,
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    sys::statfs::{FsType, TMPFS_MAGIC, statfs},
};

use super::{Error, locked::remove_folder, places::Installation};
use crate::{contract, value::RegistrationToken};

/// A registration token serves for an hour.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

impl Installation {
    /// Make the handover folder, of the container's root alone (`owner` is its id on the host).
    pub fn make_handover(&self, owner: Option<u32>) -> Result<(), Error> {
        let folder = &self.handover;
        let make = || -> std::io::Result<()> {
            if let Some(parent) = folder.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
            }
            match fs::DirBuilder::new().mode(0o700).create(folder) {
                Err(why) if why.kind() != std::io::ErrorKind::AlreadyExists => return Err(why),
                _ => {}
            }
            if let Some(owner) = owner {
                chown(folder, Some(owner), Some(owner))?;
            }
            Ok(())
        };
        make().map_err(|why| Error::file(folder, why))
    }

    /// Remove the handover folder, and what is in it.
    pub fn remove_handover(&self) -> Result<(), Error> {
        remove_folder(&self.handover)
    }

    /// Whether what lies in the handover folder stays in memory.
    pub fn handover_is_in_memory(&self) -> bool {
        let place = self.handover.ancestors().find(|path| path.exists());
        place.and_then(|path| statfs(path).ok()).is_some_and(|fs| {
            let kind = fs.filesystem_type();
            kind == TMPFS_MAGIC || kind == RAMFS_MAGIC
        })
    }

    pub fn token_path(&self) -> PathBuf {
        self.handover.join(contract::HANDOVER_TOKEN)
    }

    /// Whether a token waits to be read.
    pub fn has_token(&self) -> bool {
        self.token_path().exists()
    }

    /// Lay the token down for the container's root.
    pub fn lay_token(&self, token: &RegistrationToken, owner: Option<u32>) -> Result<(), Error> {
        self.lay(&self.token_path(), token.expose(), owner)
    }

    /// Lay a just-in-time configuration down for the container's root.
    pub fn lay_jit_config(&self, config: &str, owner: Option<u32>) -> Result<(), Error> {
        self.lay(&self.handover.join(contract::HANDOVER_JIT), config, owner)
    }

    /// Lay a secret down, 0400, whole or not at all: the file has no name before its content is complete, so
    /// a crash leaves no half secret and no nameless rest.
    fn lay(&self, path: &Path, secret: &str, owner: Option<u32>) -> Result<(), Error> {
        let lay = || -> std::io::Result<()> {
            take_away(path)?;
            let mut file = fs::OpenOptions::new()
                .write(true)
                .custom_flags(OFlag::O_TMPFILE.bits())
                .mode(0o400)
                .open(&self.handover)?;
            file.write_all(secret.as_bytes())?;
            if let Some(owner) = owner {
                std::os::unix::fs::fchown(&file, Some(owner), Some(owner))?;
            }
            let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
            nix::unistd::linkat(
                nix::fcntl::AT_FDCWD,
                nameless.as_str(),
                nix::fcntl::AT_FDCWD,
                path,
                nix::fcntl::AtFlags::AT_SYMLINK_FOLLOW,
            )?;
            Ok(())
        };
        lay().map_err(|why| Error::file(path, why))
    }

    /// Whether the token that waits is younger than GitHub lets one live.
    pub fn has_fresh_token(&self) -> bool {
        let age = || self.token_path().metadata().ok()?.modified().ok()?.elapsed().ok();
        age().is_some_and(|age| age < TOKEN_LIFE)
    }

    /// Who owns the handover folder: the container's root, where systemd-tmpfiles made it.
    pub fn handover_owner(&self) -> Option<u32> {
        self.handover.metadata().ok().map(|found| found.uid())
    }

    /// Delete a token that nobody will read any more.
    pub fn discard_token(&self) -> Result<(), Error> {
        let path = self.token_path();
        take_away(&path).map_err(|why| Error::file(&path, why))
    }

    /// What PID 1 last said of itself; nothing when it has not spoken yet.
    pub fn runner_state(&self) -> Option<contract::State> {
        let text = fs::read(self.handover.join(contract::HANDOVER_STATE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Forget what a container that is gone said of itself.
    pub fn forget_state(&self) {
        let _ = fs::remove_file(self.handover.join(contract::HANDOVER_STATE));
    }
}

fn take_away(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

    use crate::{installation::Places, value::RegistrationToken};

    #[test]
    fn the_token_is_laid_down_whole_and_0400_in_a_0700_folder() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        let installation = places.installation(&"vega-x".parse().unwrap());
        installation.make_handover(None).unwrap();
        for token in ["first", "second"] {
            installation.lay_token(&RegistrationToken::new(token), None).unwrap();
            assert_eq!(fs::read_to_string(installation.token_path()).unwrap(), token);
        }
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&installation.token_path()), 0o400);
        assert_eq!(mode(&installation.handover), 0o700);
        assert_eq!(fs::read_dir(&installation.handover).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn two_commands_do_not_work_on_one_runner_at_once() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        let installation = places.installation(&"vega-x".parse().unwrap());
        let held = installation.lock().unwrap();
        let error = installation.lock().err().unwrap().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        installation.lock().unwrap();
    }

    #[test]
    fn what_a_killed_command_left_running_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        let installation = places.installation(&"vega-x".parse().unwrap());
        drop(installation.lock().unwrap());
        let lock = installation.state.join("lock");
        let mut killed = Command::new("true").spawn().unwrap();
        killed.wait().unwrap();
        fs::write(&lock, format!("{}\n", killed.id())).unwrap();
        let file = fs::File::open(&lock).unwrap();
        file.lock().unwrap();
        // Dies with its lock open, which closes it and unlocks nothing.
        let mut left = Command::new("sleep").arg("0.5").stdin(file).spawn().unwrap();
        let taken = installation.lock().unwrap();
        assert!(left.try_wait().unwrap().is_some(), "the lock was taken while a command still had it");
        drop(taken);
    }
}
