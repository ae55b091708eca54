use std::{
    fs,
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::OFlag,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::{Error, queue};
use crate::{
    contract,
    runner::{Ids, Quarters},
    store::HOST_CONFIGURATION,
};

/// Where this very program is from then on, whatever becomes of its file.
const PROGRAM: &str = "/run/vega-builder/vega-builder";
/// The same for GitHub's.
const RUNNER: &str = "/run/vega-builder/runner";
/// What of everybody's is hidden: sockets of engines, buses and sessions, other runners' folders and records, and people's
/// homes with what they are logged in with.
const RUN: &str = "/run";
/// What of that stays: systemd's ear for the supervisor, names of users and hosts, and NixOS's programs.
const STAYS: [&str; 5] =
    ["/run/systemd/notify", "/run/systemd/resolve", "/run/nscd", "/run/current-system", "/run/opengl-driver"];
const STATE: &str = "/var/lib/vega-builder";
const SETTINGS: &str = "/etc/vega-builder";
const NIX_SETTINGS: &str = "/etc/nix";
const HOMES: [&str; 2] = ["/home", "/root"];
/// The host's own daemon is not to be asked: what it builds is under nobody's caps.
const DAEMON_SOCKET: &str = "/nix/var/nix/daemon-socket";

/// One runner's part of a host.
pub struct World<'a> {
    /// The runner's own folder in `/var/lib/vega-builder`.
    pub state: &'a Path,
    /// Its handover folder.
    pub handover: &'a Path,
    /// GitHub's runner, as its owner has unpacked it.
    pub runner: &'a Path,
    pub user: &'a str,
    pub ids: Ids,
}

impl World<'_> {
    pub fn quarters(&self) -> Quarters {
        Quarters::of_host(&super::folder(self.state), self.user, self.ids)
    }

    /// The folders that last, whatever a crash left of them.
    pub fn prepare(&self) -> Result<(), Error> {
        let Ids { uid, gid } = self.ids;
        let Quarters { home, root, .. } = self.quarters();
        // Nobody else on this host looks into a job's files.
        let folders = [
            (super::folder(self.state), 0, gid, 0o710),
            (home, uid, gid, 0o755),
            (root, 0, 0, 0o755),
            (queue(self.state), 0, 0, 0o700),
        ];
        for (folder, uid, gid, mode) in folders {
            let make = || -> std::io::Result<()> {
                fs::DirBuilder::new().recursive(true).mode(mode).create(&folder)?;
                chown(&folder, Some(uid), Some(gid))?;
                fs::set_permissions(&folder, fs::Permissions::from_mode(mode))
            };
            make().map_err(Error::file(&folder))?;
        }
        Ok(())
    }

    /// Become a process of that world, and give the program's and GitHub's places in it. The host sees nothing of its mounts,
    /// which end with the last process in it.
    pub fn enter(&self) -> Result<(PathBuf, PathBuf), Error> {
        let program = std::env::current_exe().map_err(Error::file("/proc/self/exe"))?;
        unshare(CloneFlags::CLONE_NEWNS).map_err(Error::Namespace)?;
        // What the host unmounts goes from here, too; nothing of ours goes there.
        remount(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SLAVE)?;
        // Taken while they are in sight, and of this namespace.
        let handover = Source::open(self.handover)?;
        let state = [super::folder(self.state), queue(self.state)].map(|folder| Source::open(&folder));
        let (runner, program) = (Source::open(self.runner)?, Source::open(&program)?);
        let nix = Source::open(Path::new(NIX_SETTINGS)).ok();
        let stays: Vec<_> = staying().iter().filter_map(|path| Stay::of(path)).collect();

        tmpfs(Path::new(RUN), "0755")?;
        for stay in stays {
            stay.put_back()?;
        }
        handover.bind(Path::new(contract::HANDOVER_MOUNT), MsFlags::empty())?;
        runner.bind(Path::new(RUNNER), MsFlags::MS_RDONLY)?;
        program.bind_file(Path::new(PROGRAM))?;
        tmpfs(Path::new(STATE), "0755")?;
        for source in state {
            let source = source?;
            let place = source.path.clone();
            source.bind(&place, MsFlags::empty())?;
        }
        // Nix's roots are to lead to where the host sees them lead.
        link(&queue(self.state), Path::new(contract::QUEUE_MOUNT))?;
        settings()?;
        nix_settings(nix)?;
        fs::create_dir_all(DAEMON_SOCKET).map_err(Error::file(DAEMON_SOCKET))?;
        tmpfs(Path::new(DAEMON_SOCKET), "0755")?;
        for home in HOMES.map(Path::new).into_iter().filter(|home| home.is_dir()) {
            tmpfs(home, if home.ends_with("root") { "0700" } else { "0755" })?;
        }
        std::env::set_current_dir("/").map_err(Error::file("/"))?;
        Ok((PROGRAM.into(), RUNNER.into()))
    }
}

/// What of `/run` stays; that the resolver's file leads there, too, wherever a distribution keeps it.
fn staying() -> Vec<PathBuf> {
    let resolver = Path::new("/etc/resolv.conf").canonicalize().ok();
    let resolver = resolver.filter(|file| file.starts_with(RUN));
    let all = STAYS.iter().map(PathBuf::from).chain(resolver);
    let mut all: Vec<PathBuf> = all.collect();
    // One of them may be in another.
    let folders = all.clone();
    all.retain(|path| !folders.iter().any(|folder| folder != path && path.starts_with(folder)));
    all
}

/// Something that is there again when its folder is hidden.
enum Stay {
    Link { place: PathBuf, to: PathBuf },
    Folder(Source),
    File(Source),
}

impl Stay {
    fn of(path: &Path) -> Option<Self> {
        let found = path.symlink_metadata().ok()?;
        if found.is_symlink() {
            return Some(Self::Link { place: path.to_owned(), to: fs::read_link(path).ok()? });
        }
        let source = Source::open(path).ok()?;
        Some(if found.is_dir() { Self::Folder(source) } else { Self::File(source) })
    }

    fn put_back(self) -> Result<(), Error> {
        let place = match &self {
            Self::Link { place, .. } => place.clone(),
            Self::Folder(source) | Self::File(source) => source.path.clone(),
        };
        let parent = place.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(Error::file(parent))?;
        match self {
            Self::Link { to, .. } => link(&to, &place),
            Self::Folder(source) => source.bind(&place, MsFlags::MS_RDONLY),
            Self::File(source) => source.bind_file(&place),
        }
    }
}

/// The hooks, as an image has them.
fn settings() -> Result<(), Error> {
    tmpfs(Path::new(SETTINGS), "0755")?;
    for (hook, verb) in
        [(contract::JOB_STARTED_HOOK, "job-started"), (contract::JOB_COMPLETED_HOOK, "job-completed")]
    {
        let write = || -> std::io::Result<()> {
            fs::write(hook, format!("#!/bin/sh\nexec {PROGRAM} {verb}\n"))?;
            fs::set_permissions(hook, fs::Permissions::from_mode(0o755))
        };
        write().map_err(Error::file(hook))?;
    }
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    remount(Path::new(SETTINGS), read_only)
}

/// A nix.conf of our own, which includes the host's; everything else is as the host has it.
fn nix_settings(host: Option<Source>) -> Result<(), Error> {
    let here = Path::new(NIX_SETTINGS);
    let Some(host) = host else { return Ok(()) };
    let place = Path::new(HOST_CONFIGURATION);
    host.bind(place, MsFlags::MS_RDONLY)?;
    tmpfs(here, "0755")?;
    for entry in fs::read_dir(place).map_err(Error::file(place))?.flatten() {
        if entry.file_name() != "nix.conf" {
            link(&entry.path(), &here.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Something of the host, held while it is hidden.
struct Source {
    path: PathBuf,
    file: fs::File,
}

impl Source {
    fn open(path: &Path) -> Result<Self, Error> {
        let mut options = fs::File::options();
        options.read(true).custom_flags(OFlag::O_PATH.bits());
        Ok(Self { path: path.to_owned(), file: options.open(path).map_err(Error::file(path))? })
    }

    fn bind(&self, to: &Path, flags: MsFlags) -> Result<(), Error> {
        fs::create_dir_all(to).map_err(Error::file(to))?;
        self.mount(to, flags)
    }

    fn bind_file(&self, to: &Path) -> Result<(), Error> {
        fs::write(to, "").map_err(Error::file(to))?;
        self.mount(to, MsFlags::MS_RDONLY)
    }

    fn mount(&self, to: &Path, flags: MsFlags) -> Result<(), Error> {
        let from = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let nothing = None::<&str>;
        let failed = |why| Error::Mount { path: self.path.clone(), why };
        mount(Some(from.as_str()), to, nothing, MsFlags::MS_BIND | MsFlags::MS_REC, nothing)
            .map_err(failed)?;
        if flags.is_empty() {
            return Ok(());
        }
        remount(to, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | flags)
    }
}

fn tmpfs(place: &Path, mode: &str) -> Result<(), Error> {
    let options = format!("mode={mode},size=64m");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|why| Error::Mount { path: place.to_owned(), why })
}

fn remount(place: &Path, flags: MsFlags) -> Result<(), Error> {
    let nothing = None::<&str>;
    mount(nothing, place, nothing, flags, nothing).map_err(|why| Error::Mount { path: place.to_owned(), why })
}

fn link(to: &Path, place: &Path) -> Result<(), Error> {
    symlink(to, place).map_err(Error::file(place))
}
