//! The right to change an installation, and every change of its files.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    Accepted, Error, Receipt, Record, Store,
    places::{
        ACCEPTED, CACHE, DECLARED_BY_US, DRAINED, Installation, RECEIPT, RECORD, SECCOMP, SETTINGS, STORE,
        UPDATES,
    },
};
use crate::{
    config::{CacheSettings, PusherSettings, Settings},
    value::{BuildOrigin, Origins},
};

/// What an engine's command takes at most after whoever started it was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

impl Installation {
    /// The same, when another vega-builder may be about to end.
    pub fn lock_patiently(&self, patience: Duration) -> Result<Locked, Error> {
        let until = Instant::now() + patience;
        loop {
            match self.lock() {
                Err(Error::Busy { .. }) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                other => return other,
            }
        }
    }

    /// The folder, made when it is missing, and the right to change what is in it, until it is dropped.
    ///
    /// One that was killed may have left an engine's command behind, which goes on and keeps the right
    /// ([`Locked::right`]): its end is waited for.
    pub fn lock(&self) -> Result<Locked, Error> {
        let until = Instant::now() + LEFT_BEHIND;
        loop {
            match self.lock_at_once() {
                Err(Error::Busy { pid, .. }) if is_gone(&pid) && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                other => return other,
            }
        }
    }

    pub(super) fn lock_at_once(&self) -> Result<Locked, Error> {
        let busy = |name, pid| Error::Busy { name, pid };
        Ok(Locked { installation: self.clone(), lock: self.hold("lock", busy)? })
    }

    /// The right to keep this runner's slots, until it is dropped; whoever changes its files needs the other one.
    pub fn hold_slots(&self) -> Result<Flock<File>, Error> {
        self.hold("slots.lock", |name, pid| Error::SlotsKept { name, pid })
    }

    /// The right to change this runner's image, from the first look at the one that it has until the other one listens;
    /// each file is changed with the other right.
    ///
    /// Of a runner that was taken away while somebody waited for this, nothing is made anew.
    pub fn hold_switch(&self) -> Result<Flock<File>, Error> {
        if !self.state.is_dir() {
            return Err(Error::None);
        }
        self.hold("switch.lock", |name, pid| Error::Switching { name, pid })
    }

    /// The same, when another vega-builder may be about to end.
    pub fn hold_switch_patiently(&self, patience: Duration) -> Result<Flock<File>, Error> {
        let until = Instant::now() + patience;
        loop {
            match self.hold_switch() {
                Err(Error::Switching { .. }) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                other => return other,
            }
        }
    }

    /// Tell whoever keeps this runner's slots something; an error when nobody does.
    pub fn signal_keeper(&self, signal: Signal) -> Result<(), Error> {
        match self.hold_slots() {
            Err(Error::SlotsKept { pid, .. }) => {
                let sent = pid.parse().map(|pid| kill(Pid::from_raw(pid), signal));
                sent.is_ok_and(|sent| sent.is_ok())
                    .then_some(())
                    .ok_or(Error::SlotsNotKept(self.name.to_string()))
            }
            Err(other) => Err(other),
            Ok(_) => Err(Error::SlotsNotKept(self.name.to_string())),
        }
    }

    /// A lock in the runner's folder, which is made when it is missing; `taken` tells whose it is (name and process).
    fn hold(&self, file: &str, taken: fn(String, String) -> Error) -> Result<Flock<File>, Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.state)
            .map_err(|why| Error::file(&self.state, why))?;
        let path = self.state.join(file);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(|why| Error::file(&path, why))?;
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, why)| match why {
            Errno::EWOULDBLOCK => taken(self.name.to_string(), holder.trim().to_owned()),
            other => Error::file(&path, other.into()),
        })?;
        let note = |file: &mut File| {
            file.set_len(0)?;
            std::io::Seek::rewind(file)?;
            writeln!(file, "{}", std::process::id())
        };
        note(&mut lock).map_err(|why| Error::file(&path, why))?;
        Ok(lock)
    }
}

fn is_gone(pid: &str) -> bool {
    use nix::errno::Errno;
    pid.parse().is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

/// An installation that this process alone may change; the kernel gives the right back when it dies.
pub struct Locked {
    installation: Installation,
    lock: Flock<File>,
}

impl Locked {
    /// The right itself, for a command of an engine that may outlive us: whoever holds it, holds it until all do
    /// not.
    pub fn right(&self) -> Result<OwnedFd, Error> {
        self.lock.as_fd().try_clone_to_owned().map_err(|why| Error::file(&self.state, why))
    }

    /// The same without the right to change it.
    pub fn places(&self) -> Installation {
        self.installation.clone()
    }
}

impl std::ops::Deref for Locked {
    type Target = Installation;

    fn deref(&self) -> &Installation {
        &self.installation
    }
}

impl Locked {
    /// What the pusher pushes where, for root alone: an address may have a login in it. `at` is when the runner became
    /// what it is now.
    pub fn keep_cache(
        &self,
        cache: &CacheSettings,
        origin: BuildOrigin,
        at: Timestamp,
    ) -> Result<PathBuf, Error> {
        let path = self.state.join(CACHE);
        let origins = match PusherSettings::read(&path) {
            Ok(before) => before.origins.followed_by(origin, at),
            Err(_) => Origins::new(origin),
        };
        let settings = PusherSettings { cache: cache.clone(), origins };
        let text = serde_json::to_string(&settings).map_err(|why| Error::file(&path, why.into()))?;
        // One that is the same stays the same file: a running pusher has it.
        if fs::read_to_string(&path).is_ok_and(|before| before == text) {
            return Ok(path);
        }
        let write = || -> std::io::Result<()> {
            let beside = tempfile::Builder::new()
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .tempfile_in(&self.state)?;
            fs::write(beside.path(), &text)?;
            beside.as_file().sync_all()?;
            beside.persist(&path).map_err(|error| error.error).map(drop)
        };
        write().map_err(|why| Error::file(&path, why))?;
        Ok(path)
    }

    /// Nothing is pushed any more.
    pub fn forget_cache(&self) -> Result<(), Error> {
        remove_file(&self.state.join(CACHE))
    }

    pub fn save(&self, record: &Record) -> Result<(), Error> {
        self.replace(RECORD, record)
    }

    pub fn save_receipt(&self, receipt: &Receipt) -> Result<(), Error> {
        self.replace(RECEIPT, receipt)
    }

    pub fn save_accepted(&self, accepted: &Accepted) -> Result<(), Error> {
        self.replace(ACCEPTED, accepted)
    }

    /// Declare the runner, for its unit; whether that is new.
    pub fn declare(&self, settings: &Settings) -> Result<bool, Error> {
        let file = &self.declaration;
        let (name, text) = (&self.name, settings.declaration());
        let [by_install, by_up] = DECLARED_BY_US;
        let (by, again, undo) = match settings.host {
            None => (by_install, "install", "uninstall"),
            Some(_) => (by_up, "up", "down"),
        };
        let text = format!(
            "{by} wrote this file; `vega-builder {undo} {name}` removes it.\n\
             # After a change of it, type `vega-builder {again} {scope} --config {file}`.\n{text}",
            scope = settings.scope.argument(),
            file = file.display(),
        );
        if fs::read_to_string(file).is_ok_and(|before| before == text) {
            return Ok(false);
        }
        let write = || -> std::io::Result<()> {
            let folder = file.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(folder)?;
            let beside = tempfile::Builder::new()
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
                .tempfile_in(folder)?;
            fs::write(beside.path(), text)?;
            beside.as_file().sync_all()?;
            beside.persist(file).map_err(|error| error.error).map(drop)
        };
        write().map(|()| true).map_err(|why| Error::file(file, why))
    }

    /// Keep what `up` was told.
    pub fn keep_settings(&self, settings: &Settings) -> Result<(), Error> {
        let path = self.settings();
        let write = || -> std::io::Result<()> {
            let beside = tempfile::NamedTempFile::new_in(&self.state)?;
            fs::write(beside.path(), settings.declaration())?;
            beside.as_file().sync_all()?;
            beside.persist(&path).map_err(|error| error.error).map(drop)
        };
        write().map_err(|why| Error::file(&path, why))
    }

    pub fn save_store(&self, store: &Store) -> Result<(), Error> {
        self.replace(STORE, store)
    }

    /// Remove every file of this runner's; `keep_store` leaves what is known of the store's volume.
    pub fn erase(&self, keep_store: bool) -> Result<(), Error> {
        remove_folder(&self.handover)?;
        if keep_store && self.state.join(STORE).exists() {
            for name in [RECORD, SECCOMP, RECEIPT, ACCEPTED, CACHE, DRAINED, SETTINGS, UPDATES] {
                remove_file(&self.state.join(name))?;
            }
        } else {
            remove_folder(&self.state)?;
        }
        for parent in [self.handover.parent(), self.state.parent()].into_iter().flatten() {
            // Another runner's folders may be there still.
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }

    /// Where the seccomp profile of the container lies.
    pub fn seccomp(&self) -> PathBuf {
        self.state.join(SECCOMP)
    }
}

pub(super) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, why)),
        _ => Ok(()),
    }
}

pub(super) fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            // A job's folder in a folder, ten thousand times, takes more open files than we may have.
            let rm = crate::secrecy::command("rm").args(["-rf", "--"]).arg(path).status();
            if rm.is_ok_and(|status| status.success()) { Ok(()) } else { Err(Error::file(path, why)) }
        }
        _ => Ok(()),
    }
}
