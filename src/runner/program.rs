//! GitHub's own program, and the root that it takes for its own.
//!
//! As nixpkgs packages it, it keeps its files where `RUNNER_ROOT` says. GitHub's own archive keeps them in the folder that
//! `bin` lies in, whatever that variable says: so on a host, where it is of that archive, it is bound into the root.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

const LISTENER: &str = "bin/Runner.Listener";
/// What GitHub's archive has; the second of them nobody else has in its place.
const PARTS: [&str; 2] = ["bin", "externals"];

/// Where it lies.
#[derive(Debug, Clone)]
pub struct Program {
    folder: PathBuf,
    is_bound: bool,
}

impl Program {
    /// That of an image, or of a host where its packager has it honour `RUNNER_ROOT`.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), is_bound: false }
    }

    /// That of a host, whoever made it.
    pub fn of_host(folder: &Path) -> Self {
        Self { is_bound: folder.join(PARTS[1]).is_dir(), ..Self::in_folder(folder) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it is still there: the cheap look between two jobs.
    pub fn is_present(&self) -> bool {
        self.folder.join(LISTENER).exists()
    }

    /// Have it take `root` for its own, as long as the result lives.
    pub fn rooted_at(&self, root: &Path) -> io::Result<Rooted> {
        if !self.is_bound {
            return Ok(Rooted { listener: self.folder.join(LISTENER), bound: Vec::new() });
        }
        let mut rooted = Rooted { listener: root.join(LISTENER), bound: Vec::new() };
        for part in PARTS {
            let (from, to) = (self.folder.join(part), root.join(part));
            fs::create_dir_all(&to)?;
            let nothing = None::<&str>;
            mount(Some(&from), &to, nothing, MsFlags::MS_BIND, nothing)?;
            rooted.bound.push(to.clone());
            // Nobody changes it from here.
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
            mount(nothing, &to, nothing, flags, nothing)?;
        }
        Ok(rooted)
    }
}

/// It, where its root is what it should be.
#[derive(Debug)]
pub struct Rooted {
    listener: PathBuf,
    bound: Vec<PathBuf>,
}

impl Rooted {
    pub fn listener(&self) -> &Path {
        &self.listener
    }
}

impl Drop for Rooted {
    fn drop(&mut self) {
        for part in &self.bound {
            let _ = umount2(part, MntFlags::MNT_DETACH);
        }
    }
}
