use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};

use super::{Accepted, Error, Receipt, Record, Store};
use crate::{
    config::{Host, PusherSettings, Settings},
    value::{RunnerName, Scope},
};

/// The folders of this machine (or, without root's rights, of this person) that hold our files.
#[derive(Debug, Clone)]
pub struct Places {
    /// Records, on the disk: `/var/lib/vega-builder`.
    pub state: PathBuf,
    /// Handover folders, on a tmpfs: `/run/vega-builder`.
    pub runtime: PathBuf,
    /// Files that declare runners whose containers a unit makes: `/etc/vega-builder/runners`.
    pub declarations: PathBuf,
    /// What can be had again, and is no runner's own: `/var/cache/vega-builder`.
    pub cache: PathBuf,
}

impl Places {
    pub fn standard() -> Self {
        if nix::unistd::geteuid().is_root() {
            return Self {
                state: "/var/lib/vega-builder".into(),
                runtime: "/run/vega-builder".into(),
                declarations: DECLARATIONS.into(),
                cache: "/var/cache/vega-builder".into(),
            };
        }
        let home = env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let folder = |variable: &str, other: PathBuf| {
            env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or(other)
        };
        let uid = nix::unistd::getuid();
        Self {
            state: folder("XDG_STATE_HOME", home.join(".local/state")).join("vega-builder"),
            runtime: folder("XDG_RUNTIME_DIR", format!("/run/user/{uid}").into()).join("vega-builder"),
            declarations: folder("XDG_CONFIG_HOME", home.join(".config")).join("vega-builder/runners"),
            cache: folder("XDG_CACHE_HOME", home.join(".cache")).join("vega-builder"),
        }
    }

    pub fn installation(&self, name: &RunnerName) -> Installation {
        Installation {
            name: name.clone(),
            state: self.state.join(name.as_str()),
            handover: self.runtime.join(name.as_str()),
            declaration: self.declarations.join(format!("{name}.toml")),
        }
    }

    /// Every runner that has a record here, or is declared.
    pub fn installed(&self) -> Vec<Installation> {
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        let recorded = entries(&self.state)
            .filter(|entry| entry.path().join(RECORD).exists())
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut names: Vec<RunnerName> = recorded.chain(self.declared()).collect();
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        names.iter().map(|name| self.installation(name)).collect()
    }

    /// The names of the files that declare a runner.
    fn declared(&self) -> Vec<RunnerName> {
        let entries = fs::read_dir(&self.declarations).into_iter().flatten().flatten();
        let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".toml")?.parse().ok();
        entries.filter_map(name).collect()
    }

    /// Forget what was cached, when no runner is left to profit from it.
    pub fn tidy(&self) -> Result<(), Error> {
        if self.installed().is_empty() { remove_folder(&self.cache) } else { Ok(()) }
    }

    /// Every first id of a user namespace that another runner's files belong to, and whose it is.
    fn userns_bases(&self, but: &RunnerName) -> Vec<(u32, RunnerName)> {
        let Ok(entries) = fs::read_dir(&self.state) else { return vec![] };
        let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        names
            .filter(|name| name != but)
            .filter_map(|name| Some((self.installation(&name).store().ok().flatten()?.userns_base?, name)))
            .collect()
    }

    /// The first id of a user namespace's range that no other runner here has, noted in `installation`'s store; the
    /// one that is noted there already, when there is one, because its volumes' files belong to it. `wanted` is one
    /// that the settings name.
    pub fn userns_base(&self, installation: &Locked, wanted: Option<u32>) -> Result<u32, Error> {
        let name = &installation.name;
        if let Some(base) = installation.store()?.and_then(|store| store.userns_base) {
            let wanted = wanted.filter(|wanted| *wanted != base);
            let other = |wanted| Error::OtherUserIds { name: name.to_string(), base, wanted };
            return wanted.map_or(Ok(base), |wanted| Err(other(wanted)));
        }
        // Two first starts at once must not take the same range: the folder itself is the lock.
        let folder = File::open(&self.state).map_err(|why| Error::file(&self.state, why))?;
        let _lock = Flock::lock(folder, FlockArg::LockExclusive)
            .map_err(|(_, why)| Error::file(&self.state, std::io::Error::from(why)))?;
        let taken = self.userns_bases(name);
        let overlaps = |base: u32| taken.iter().find(|(other, _)| other.abs_diff(base) < RANGE);
        let mut all = (0..RANGES).map(|slot| FIRST_ID + slot * RANGE);
        let base = match wanted {
            Some(wanted) => overlaps(wanted).map_or(Ok(wanted), |(_, other)| {
                Err(Error::UserIdsTaken { wanted, other: other.to_string() })
            })?,
            None => all.find(|base| overlaps(*base).is_none()).ok_or(Error::NoUserIds)?,
        };
        let store = installation.store()?.unwrap_or_default();
        installation.save_store(&Store { userns_base: Some(base), ..store })?;
        Ok(base)
    }

    /// The runner that `wanted` names (by its own name or its repository), or the only one.
    pub fn find(&self, wanted: Option<&str>) -> Result<Installation, Error> {
        let mut installed = self.installed();
        let have: Vec<_> = installed.iter().map(|one| one.name.to_string()).collect();
        let Some(wanted) = wanted else {
            return match installed.len() {
                0 => Err(Error::None),
                1 => Ok(installed.remove(0)),
                _ => Err(Error::Several { have }),
            };
        };
        let scope = wanted.parse::<Scope>().ok();
        let is_wanted = |one: &Installation| {
            one.name.as_str().eq_ignore_ascii_case(wanted) || scope.is_some() && one.scope() == scope
        };
        match installed.iter().position(is_wanted) {
            Some(position) => Ok(installed.remove(position)),
            None if have.is_empty() => Err(Error::None),
            None => Err(Error::NotFound { wanted: wanted.to_owned(), have }),
        }
    }
}

/// The first line of the declarations that `install` writes.
const DECLARED_BY_US: &str = "# vega-builder install";
const DECLARATIONS: &str = "/etc/vega-builder/runners";

/// Host ids above those that anybody else gives away; a runner's user namespace has `RANGE` of them.
const FIRST_ID: u32 = 0xf000_0000;
const RANGE: u32 = 65536;
const RANGES: u32 = 4095;

/// What an engine's command takes at most after whoever started it was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

const RECORD: &str = "installation.json";
const CACHE: &str = "cache.json";
const STORE: &str = "store.json";
const SECCOMP: &str = "seccomp.json";
const ACCEPTED: &str = "accepted.json";
const RECEIPT: &str = "receipt.json";

/// One runner's folders.
#[derive(Debug, Clone)]
pub struct Installation {
    pub name: RunnerName,
    pub state: PathBuf,
    pub handover: PathBuf,
    /// The file that declares it, where a unit makes its container.
    pub declaration: PathBuf,
}

impl Installation {
    /// The record, when there is one.
    pub fn record(&self) -> Result<Option<Record>, Error> {
        self.read(RECORD)
    }

    /// Whether a unit makes its container, after a file that declares it.
    pub fn is_declared(&self) -> bool {
        self.declaration.exists()
    }

    /// Whether `install` wrote that file, and not somebody else: the NixOS module, say.
    pub fn is_installed(&self) -> bool {
        fs::read_to_string(&self.declaration).is_ok_and(|text| text.starts_with(DECLARED_BY_US))
    }

    /// Whose jobs it takes, as far as can be read.
    fn scope(&self) -> Option<Scope> {
        if self.is_declared() {
            let host = Host::read().ok()?;
            return Settings::declared(&self.declaration, &self.name, &host).ok().map(|it| it.scope);
        }
        self.record().ok().flatten().map(|record| record.identity.scope)
    }

    /// What its image was trusted by, when it was verified.
    pub fn receipt(&self) -> Result<Option<Receipt>, Error> {
        self.read(RECEIPT)
    }

    /// What a person accepted before there was a record.
    pub fn accepted(&self) -> Result<Option<Accepted>, Error> {
        self.read(ACCEPTED)
    }

    /// What is known of the store's volume, when there may be one.
    pub fn store(&self) -> Result<Option<Store>, Error> {
        self.read(STORE)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.state.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(Error::file(&path, why)),
        };
        serde_json::from_str(&text).map(Some).map_err(|why| Error::Record {
            path,
            name: self.name.to_string(),
            why: why.to_string(),
        })
    }

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

    fn lock_at_once(&self) -> Result<Locked, Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.state)
            .map_err(|why| Error::file(&self.state, why))?;
        let path = self.state.join("lock");
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
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| Error::Busy { name: self.name.to_string(), pid: holder.trim().to_owned() })?;
        let note = |file: &mut File| {
            file.set_len(0)?;
            std::io::Seek::rewind(file)?;
            writeln!(file, "{}", std::process::id())
        };
        note(&mut lock).map_err(|why| Error::file(&path, why))?;
        Ok(Locked { installation: self.clone(), lock })
    }
}

fn is_gone(pid: &str) -> bool {
    use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
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
    /// What the pusher pushes where, for root alone: an address may have a login in it.
    pub fn keep_cache(&self, cache: &PusherSettings) -> Result<PathBuf, Error> {
        let path = self.state.join(CACHE);
        let text = serde_json::to_string(cache).map_err(|why| Error::file(&path, why.into()))?;
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

    pub fn save(&self, record: &Record) -> Result<(), Error> {
        self.replace(RECORD, record)
    }

    pub fn save_receipt(&self, receipt: &Receipt) -> Result<(), Error> {
        self.replace(RECEIPT, receipt)
    }

    pub fn save_accepted(&self, accepted: &Accepted) -> Result<(), Error> {
        self.replace(ACCEPTED, accepted)
    }

    /// Declare the runner, for its unit.
    pub fn declare(&self, settings: &Settings) -> Result<(), Error> {
        let file = &self.declaration;
        let (name, text) = (&self.name, settings.declaration());
        let text = format!(
            "{DECLARED_BY_US} wrote this file; `vega-builder uninstall {name}` removes it.\n\
             # After a change of it, type `vega-builder install {scope} --config {file}`.\n{text}",
            scope = settings.scope.argument(),
            file = file.display(),
        );
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
        write().map_err(|why| Error::file(file, why))
    }

    /// Take the declaration away.
    pub fn undeclare(&self) -> Result<(), Error> {
        remove_file(&self.declaration)?;
        if let Some(folder) = self.declaration.parent() {
            // Another runner's may be there.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    pub fn save_store(&self, store: &Store) -> Result<(), Error> {
        self.replace(STORE, store)
    }

    /// Replace a file as a whole: a crash leaves the old one or the new one.
    fn replace(&self, name: &str, value: &impl serde::Serialize) -> Result<(), Error> {
        let path = self.state.join(name);
        let save = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.state)?;
            serde_json::to_writer_pretty(&mut file, value)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.state)?.sync_all()
        };
        save().map_err(|why| Error::file(&path, why))
    }

    /// Remove every file of this runner's; `keep_store` leaves what is known of the store's volume.
    pub fn erase(self, keep_store: bool) -> Result<(), Error> {
        remove_folder(&self.handover)?;
        if keep_store && self.state.join(STORE).exists() {
            for name in [RECORD, SECCOMP, RECEIPT, ACCEPTED, CACHE] {
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

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, why)),
        _ => Ok(()),
    }
}

fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, why)),
        _ => Ok(()),
    }
}
