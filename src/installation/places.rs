use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use super::{
    Accepted, Error, Receipt, Record, Store,
    locked::{Locked, remove_file, remove_folder},
};
use crate::{
    cache::key::public_path,
    config::{Host, Settings},
    value::{ImageDigest, RunnerName, Scope},
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

    /// The key with which this host signs where a path was built; no runner has such a name.
    pub fn host_key(&self) -> PathBuf {
        self.state.join(".host-key")
    }

    pub fn installation(&self, name: &RunnerName) -> Installation {
        Installation {
            name: name.clone(),
            state: self.state.join(name.as_str()),
            handover: self.runtime.join(name.as_str()),
            declaration: self.declarations.join(format!("{name}.toml")),
        }
    }

    /// All of it below a test's own folder.
    #[cfg(test)]
    pub fn below(root: &Path) -> Self {
        let at = |name: &str| root.join(name);
        Self { state: at("state"), runtime: at("run"), declarations: at("runners"), cache: at("cache") }
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

    /// The runner that somebody asks about, or all of them; that there is none is an error.
    pub fn wanted(&self, runner: Option<&str>) -> Result<Vec<Installation>, Error> {
        let wanted = match runner {
            Some(_) => vec![self.find(runner)?],
            None => self.installed(),
        };
        if wanted.is_empty() { Err(Error::None) } else { Ok(wanted) }
    }

    /// Whether another runner here is made of this image, or would go back to it.
    pub fn others_need(&self, name: &RunnerName, digest: &ImageDigest) -> bool {
        self.installed().iter().any(|other| other.name != *name && other.needs(digest))
    }

    /// Whether any is, or would.
    pub(super) fn is_needed(&self, digest: &ImageDigest) -> bool {
        self.installed().iter().any(|one| one.needs(digest))
    }

    /// The names of the files that declare a runner.
    fn declared(&self) -> Vec<RunnerName> {
        let entries = fs::read_dir(&self.declarations).into_iter().flatten().flatten();
        let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".toml")?.parse().ok();
        entries.filter_map(name).collect()
    }

    /// Forget what was cached, when no runner is left to profit from it.
    pub fn tidy(&self) -> Result<(), Error> {
        if !self.installed().is_empty() {
            return Ok(());
        }
        remove_folder(&self.cache)?;
        let key = self.host_key();
        for file in [public_path(&key), key, self.ledger()] {
            let _ = fs::remove_file(file);
        }
        let _ = fs::remove_dir(&self.state);
        Ok(())
    }

    /// The right to change what all runners share, until it is dropped: the folder itself is the lock.
    pub(super) fn alone(&self) -> Result<Flock<File>, Error> {
        let folder = File::open(&self.state).map_err(|why| Error::file(&self.state, why))?;
        Flock::lock(folder, FlockArg::LockExclusive)
            .map_err(|(_, why)| Error::file(&self.state, std::io::Error::from(why)))
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
            let other = |wanted| Error::OtherUserIds {
                name: name.to_string(),
                base,
                wanted,
                away: installation.to_take_away(),
            };
            return wanted.map_or(Ok(base), |wanted| Err(other(wanted)));
        }
        // Two first starts at once must not take the same range.
        let _lock = self.alone()?;
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

/// How the declarations begin that `install` writes, and `up --host`.
pub(super) const DECLARED_BY_US: [&str; 2] = ["# vega-builder install", "# vega-builder up"];
const DECLARATIONS: &str = "/etc/vega-builder/runners";

/// Host ids above those that anybody else gives away; a runner's user namespace has `RANGE` of them.
const FIRST_ID: u32 = 0xf000_0000;
const RANGE: u32 = 65536;
const RANGES: u32 = 4095;

pub(super) const RECORD: &str = "installation.json";
pub(super) const CACHE: &str = "cache.json";
pub(super) const SETTINGS: &str = "settings.toml";
pub(super) const UPDATES: &str = "updates.json";
pub(super) const STORE: &str = "store.json";
pub(super) const SECCOMP: &str = "seccomp.json";
pub(super) const ACCEPTED: &str = "accepted.json";
pub(super) const DRAINED: &str = "drained.json";
pub(super) const RECEIPT: &str = "receipt.json";

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

    /// Whether it is made of this image, or would go back to it. What cannot be read may need it.
    fn needs(&self, digest: &ImageDigest) -> bool {
        let (Ok(record), Ok(updates)) = (self.record(), self.updates()) else { return true };
        let previous = updates.previous.map(|previous| previous.record);
        record.into_iter().chain(previous).any(|record| record.digest == *digest)
    }

    /// Whether a unit makes its container, after a file that declares it.
    pub fn is_declared(&self) -> bool {
        self.declaration.exists()
    }

    /// Whether `install` wrote that file, and not somebody else: the NixOS module, say.
    pub fn is_installed(&self) -> bool {
        fs::read_to_string(&self.declaration)
            .is_ok_and(|text| DECLARED_BY_US.iter().any(|by| text.starts_with(by)))
    }

    /// Whether it has no container: `up --host` made it, whatever else stands in that file.
    pub fn is_on_host(&self) -> bool {
        fs::read_to_string(&self.declaration).is_ok_and(|text| text.starts_with(DECLARED_BY_US[1]))
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

    /// Whose jobs it takes, as far as can be read.
    pub(super) fn scope(&self) -> Option<Scope> {
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

    /// What the pusher pushes where.
    pub fn cache(&self) -> PathBuf {
        self.state.join(CACHE)
    }

    /// What `up` was told, for those who change the runner later: for root alone, as an address may have a login in it.
    pub fn settings(&self) -> PathBuf {
        self.state.join(SETTINGS)
    }

    /// What is known of the store's volume, when there may be one.
    pub fn store(&self) -> Result<Option<Store>, Error> {
        self.read(STORE)
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.state.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(Error::file(&path, why)),
        };
        serde_json::from_str(&text).map(Some).map_err(|why| Error::Record {
            path,
            away: self.to_take_away(),
            why: why.to_string(),
        })
    }

    /// Replace a file as a whole: a crash leaves the old one or the new one.
    pub(super) fn replace(&self, name: &str, value: &impl serde::Serialize) -> Result<(), Error> {
        replace(&self.state, name, value)
    }
}

/// The same in any folder.
pub(super) fn replace(folder: &Path, name: &str, value: &impl serde::Serialize) -> Result<(), Error> {
    let path = folder.join(name);
    let save = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    save().map_err(|why| Error::file(&path, why))
}
