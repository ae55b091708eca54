//! Mounts in a namespace of one's own.

use std::{
    fs,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::symlink,
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, open},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::Mode,
};

use super::Error;

/// A mount namespace of this process's own: what the host unmounts goes from it, too; nothing of ours goes to the host.
pub fn apart() -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(Error::Namespace)?;
    remount(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SLAVE)
}

/// Something of the host, held while it is hidden.
pub struct Source {
    pub path: PathBuf,
    file: OwnedFd,
}

impl Source {
    pub fn open(path: &Path) -> Result<Self, Error> {
        // Not by the standard library, which takes this flag for an access mode on musl, and opens.
        let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        let file = file.map_err(|why| Error::file(path)(why.into()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub fn bind(&self, to: &Path, flags: MsFlags) -> Result<(), Error> {
        fs::create_dir_all(to).map_err(Error::file(to))?;
        self.mount(to, flags)
    }

    pub fn bind_file(&self, to: &Path) -> Result<(), Error> {
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

pub fn tmpfs(place: &Path, mode: &str) -> Result<(), Error> {
    mounted_tmpfs(place, &format!("mode={mode},size=64m"))
}

pub fn mounted_tmpfs(place: &Path, options: &str) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some(options))
        .map_err(|why| Error::Mount { path: place.to_owned(), why })
}

pub fn remount(place: &Path, flags: MsFlags) -> Result<(), Error> {
    let nothing = None::<&str>;
    mount(nothing, place, nothing, flags, nothing).map_err(|why| Error::Mount { path: place.to_owned(), why })
}

/// A link, whatever lay there.
pub fn link(to: &Path, place: &Path) -> Result<(), Error> {
    let _ = fs::remove_file(place);
    symlink(to, place).map_err(Error::file(place))
}
