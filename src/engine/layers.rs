//! The store of a container that takes one job: everything of a store that nobody writes to, and beside it a layer of
//! its own for what the job adds, which goes with it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};

use super::{
    Cli, Container, Error,
    container::{INSTANCE_LABEL, store_volume},
};
use crate::value::RunnerName;

/// The volume that holds what a job adds to its store.
pub fn layer_volume(job: &RunnerName) -> String {
    format!("{job}-layer")
}

/// What of it is the job's, in the folder of that volume.
pub fn upper(layer: &Path) -> PathBuf {
    layer.join("upper")
}

impl Cli {
    /// Whether stores can be laid over one another: the kernel wants root for that.
    pub fn has_layers(&self) -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// The store of one job, over a base.
    pub fn lay_store(&self, container: &Container, base: &str) -> Result<(), Error> {
        let layer = layer_volume(&container.name);
        self.new_volume(&layer, container.instance())?;
        let (lower, own) = (self.place_of(base)?, self.place_of(&layer)?);
        let (upper, work) = (upper(&own), own.join("work"));
        let prepare = || -> std::io::Result<()> {
            fs::create_dir_all(&work)?;
            fs::create_dir_all(&upper)?;
            // The top folder of both seen as one is the upper one's.
            let of_base = lower.metadata()?;
            chown(&upper, Some(of_base.uid()), Some(of_base.gid()))?;
            fs::set_permissions(&upper, fs::Permissions::from_mode(of_base.mode() & 0o7777))
        };
        prepare().map_err(|why| Error::Volume { volume: layer, why })?;
        let option = |name: &str, path: &Path| format!("{name}={}", path.display());
        let folders =
            [option("lowerdir", &lower), option("upperdir", &upper), option("workdir", &work)].join(",");
        let arguments = [
            "volume".to_owned(),
            "create".to_owned(),
            format!("--label={INSTANCE_LABEL}={}", container.instance()),
            "--opt=type=overlay".to_owned(),
            "--opt=device=overlay".to_owned(),
            format!("--opt=o={folders}"),
            container.store_volume(),
        ];
        self.run(&arguments).map(drop)
    }

    /// Unmount a job's store, which no container has any more.
    ///
    /// Podman tidies up behind a container with a user namespace in a mount namespace of its own, in which it unmounts
    /// the volume, and not in the host's.
    pub(super) fn lift_store(&self, job: &RunnerName) -> Result<(), Error> {
        let volume = store_volume(job);
        let Some(place) = self.volume_place(&volume)?.filter(|_| self.has_layers()) else { return Ok(()) };
        loop {
            match umount2(&place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {}
                // Nothing is mounted there.
                Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
                Err(why) => return Err(Error::Volume { volume, why: why.into() }),
            }
        }
    }
}
