use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use nix::mount::MsFlags;

use super::{
    Error, Folders,
    mounts::{Source, apart, link, mounted_tmpfs, remount, tmpfs},
    view::DAEMON_FOLDER,
};
use crate::{
    contract,
    runner::{Ids, Quarters},
    store::HOST_CONFIGURATION,
};

/// Where the runner's own sockets, hooks and notes are, in its world and in its nix-daemon's view.
pub const RUN: &str = "/run/vega-builder";
/// In it: GitHub's runner.
const RUNNER: &str = "/run/vega-builder/runner";
/// What of everybody's is hidden: sockets of engines, buses and sessions, other runners' folders and records, and people's
/// homes with what they are logged in with.
const ALL_OF_RUN: &str = "/run";
/// What of that stays: systemd's ear for the supervisor, names of users and hosts, and NixOS's programs.
const STAYS: [&str; 5] =
    ["/run/systemd/notify", "/run/systemd/resolve", "/run/nscd", "/run/current-system", "/run/opengl-driver"];
const STATE: &str = "/var/lib/vega-builder";
const SETTINGS: &str = "/etc/vega-builder";
const NIX_SETTINGS: &str = "/etc/nix";
const HOMES: [&str; 2] = ["/home", "/root"];
const SHARED: [&str; 2] = ["/dev/shm", "/dev/mqueue"];
/// The host's own daemon is not to be asked: what it builds is under nobody's caps. The runner's own is there in its place.
pub const DAEMON_SOCKET: &str = "/nix/var/nix/daemon-socket";

/// One runner's part of a host.
pub struct World<'a> {
    pub folders: Folders,
    /// Its handover folder.
    pub handover: &'a Path,
    /// GitHub's runner, as its owner has unpacked it.
    pub runner: &'a Path,
    pub user: &'a str,
    pub ids: Ids,
}

impl World<'_> {
    pub fn quarters(&self) -> Quarters {
        Quarters::of_host(&self.folders.0, self.user, self.ids)
    }

    /// The folders that last, whatever a crash left of them.
    pub fn prepare(&self) -> Result<(), Error> {
        let Ids { uid, gid } = self.ids;
        let Quarters { home, root, .. } = self.quarters();
        // Nobody else on this host looks into a job's files.
        let folders = [
            (self.folders.jobs(), 0, gid, 0o710),
            (home, uid, gid, 0o755),
            (root, 0, 0, 0o755),
            (self.folders.queue(), 0, 0, 0o700),
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

    /// What is made anew at every start.
    fn begin(&self) -> Result<(), Error> {
        let (run, program) = (self.folders.run(), self.folders.program());
        let ourselves = std::env::current_exe().map_err(Error::file("/proc/self/exe"))?;
        let folder = |path: &Path| match fs::remove_dir_all(path) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path)(why)),
            _ => fs::create_dir_all(path).map_err(Error::file(path)),
        };
        folder(&run)?;
        // Who is neither root nor a job is not to speak in a job's name.
        chown(&run, Some(0), Some(self.ids.gid)).map_err(Error::file(&run))?;
        fs::set_permissions(&run, fs::Permissions::from_mode(0o750)).map_err(Error::file(&run))?;
        folder(&run.join(DAEMON_FOLDER))?;
        folder(&self.folders.builds())?;
        folder(&self.folders.nix())?;
        folder(program.parent().unwrap_or(&run))?;
        fs::copy(ourselves, &program).map_err(Error::file(&program))?;
        link(&self.folders.queue(), &run.join(QUEUE))
    }

    /// Become a process of that world, and give the program's and GitHub's places in it. The host sees nothing of its mounts,
    /// which end with the last process in it.
    pub fn enter(&self) -> Result<(PathBuf, PathBuf), Error> {
        self.begin()?;
        apart()?;
        // Taken while they are in sight, and of this namespace.
        let handover = Source::open(self.handover)?;
        let run = Source::open(&self.folders.run())?;
        let daemon = Source::open(&self.folders.run().join(DAEMON_FOLDER))?;
        let program = self.folders.program();
        let own = [
            Some(self.folders.jobs().as_path()),
            Some(self.folders.queue().as_path()),
            Some(self.folders.run().as_path()),
            Some(self.folders.nix().as_path()),
            Some(self.folders.builds().as_path()),
            program.parent(),
        ]
        .into_iter()
        .flatten()
        .map(Source::open)
        .collect::<Result<Vec<_>, _>>()?;
        let runner = Source::open(self.runner)?;
        let nix = Source::open(Path::new(NIX_SETTINGS))?;
        let stays: Vec<_> = staying().iter().filter_map(|path| Stay::of(path)).collect();

        tmpfs(Path::new(ALL_OF_RUN), "0755")?;
        for stay in stays {
            stay.put_back()?;
        }
        run.bind(Path::new(RUN), MsFlags::empty())?;
        handover.bind(Path::new(contract::HANDOVER_MOUNT), MsFlags::empty())?;
        runner.bind(Path::new(RUNNER), MsFlags::MS_RDONLY)?;
        tmpfs(Path::new(STATE), "0755")?;
        for source in own {
            let place = source.path.clone();
            source.bind(&place, MsFlags::empty())?;
        }
        settings(&program)?;
        nix_settings(&nix, &self.folders.nix())?;
        daemon.bind(Path::new(DAEMON_SOCKET), MsFlags::empty())?;
        // What lies there is everybody's on a host.
        for shared in SHARED.map(Path::new).into_iter().filter(|shared| shared.is_dir()) {
            mounted_tmpfs(shared, "mode=1777,size=50%")?;
        }
        for home in HOMES.map(Path::new).into_iter().filter(|home| home.is_dir()) {
            tmpfs(home, if home.ends_with("root") { "0700" } else { "0755" })?;
        }
        std::env::set_current_dir("/").map_err(Error::file("/"))?;
        Ok((program, RUNNER.into()))
    }
}

/// In [`Folders::run`], a link to [`Folders::queue`].
pub const QUEUE: &str = "queue";

/// What of `/run` stays; that the resolver's file leads there, too, wherever a distribution keeps it.
fn staying() -> Vec<PathBuf> {
    let resolver = Path::new("/etc/resolv.conf").canonicalize().ok();
    let resolver = resolver.filter(|file| file.starts_with(ALL_OF_RUN));
    // Its folder: it is another file after every change of the network.
    let resolver = resolver.map(|file| match file.parent() {
        Some(folder) if folder != Path::new(ALL_OF_RUN) => folder.to_owned(),
        _ => file,
    });
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
fn settings(program: &Path) -> Result<(), Error> {
    tmpfs(Path::new(SETTINGS), "0755")?;
    for (hook, verb) in
        [(contract::JOB_STARTED_HOOK, "job-started"), (contract::JOB_COMPLETED_HOOK, "job-completed")]
    {
        let write = || -> std::io::Result<()> {
            fs::write(hook, format!("#!/bin/sh\nexec {} {verb}\n", program.display()))?;
            fs::set_permissions(hook, fs::Permissions::from_mode(0o755))
        };
        write().map_err(Error::file(hook))?;
    }
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    remount(Path::new(SETTINGS), read_only)
}

/// A nix.conf of our own, for the jobs' world here and for the daemon in `daemon`, both of which include the host's; everything
/// else is as the host has it.
fn nix_settings(host: &Source, daemon: &Path) -> Result<(), Error> {
    let here = Path::new(NIX_SETTINGS);
    let place = Path::new(HOST_CONFIGURATION);
    host.bind(place, MsFlags::MS_RDONLY)?;
    tmpfs(here, "0755")?;
    for entry in fs::read_dir(place).map_err(Error::file(place))?.flatten() {
        let name = entry.file_name();
        if name != "nix.conf" {
            link(&entry.path(), &here.join(&name))?;
            link(&here.join(&name), &daemon.join(&name))?;
        }
    }
    Ok(())
}
