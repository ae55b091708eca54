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
    cli::Answer,
    container::{INSTANCE_LABEL, store_volume},
};
use crate::value::{ImageDigest, RunnerName};

/// In a base, once all of its image's paths are there; whose they are.
const WHOLE: &str = ".vega-builder-base";

/// The volume below the stores of a runner's jobs, of one image.
pub fn base_volume(runner: &RunnerName, image: &ImageDigest) -> String {
    format!("{}{}", base_prefix(runner), image.short())
}

/// What the names of all of them begin with.
pub fn base_prefix(runner: &RunnerName) -> String {
    format!("{runner}-base-")
}

/// The volume that holds what a job adds to its store.
pub fn layer_volume(job: &RunnerName) -> String {
    format!("{job}-layer")
}

impl Cli {
    /// Whether stores can be laid over one another: the kernel wants root for that.
    pub fn has_layers(&self) -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// A base with every store path of the container's image in it; whether it had to be made.
    pub fn keep_base(&self, container: &Container) -> Result<bool, Error> {
        let volume = base_volume(container.instance(), container.image.value());
        let digest = container.image.value().to_string();
        if let Some(place) = self.volume_place(&volume)? {
            if fs::read_to_string(place.join(WHOLE)).is_ok_and(|whole| whole == digest) {
                return Ok(false);
            }
            // A copy that was cut short: no job has had it, but what copied may still hold it.
            self.remove(&container.seeder_name())?;
            self.remove_volume(&volume)?;
        }
        self.make_volume(&volume, container.instance())?;
        self.seed_into(&volume, container)?;
        let failed = |why| Error::Volume { volume: volume.clone(), why };
        let place = self.volume_place(&volume)?.unwrap_or_default();
        fs::write(place.join(WHOLE), digest).and_then(|()| sync(&place)).map_err(failed)?;
        Ok(true)
    }

    /// The store of one job, over the base of its image.
    pub fn lay_store(&self, container: &Container) -> Result<(), Error> {
        let base = base_volume(container.instance(), container.image.value());
        let layer = layer_volume(&container.name);
        self.make_volume(&layer, container.instance())?;
        let place = |volume: &str| -> Result<PathBuf, Error> {
            self.volume_place(volume)?.ok_or_else(|| Error::Volume {
                volume: volume.to_owned(),
                why: std::io::Error::other("the engine does not say where it is"),
            })
        };
        let (lower, own) = (place(&base)?, place(&layer)?);
        let [upper, work] = ["upper", "work"].map(|name| own.join(name));
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

    /// Remove the bases of images that no job's store rests on any more.
    pub fn prune_bases(&self, runner: &RunnerName, keep: &ImageDigest) -> Result<(), Error> {
        let kept = base_volume(runner, keep);
        let others: Vec<String> =
            self.volumes(&base_prefix(runner))?.into_iter().filter(|volume| *volume != kept).collect();
        if others.is_empty() {
            return Ok(());
        }
        let mut layers = Vec::new();
        for job in self.jobs_with_volumes(runner)? {
            let arguments = ["volume", "inspect", "--format", "{{.Options.o}}", &store_volume(&job)];
            // Not every job that has a volume has a store still.
            if let Answer::Is(output) = self.ask(&arguments, &["no such volume"])? {
                layers.push(String::from_utf8_lossy(&output.stdout).into_owned());
            }
        }
        let rests_on = |volume: &String| layers.iter().any(|layer| layer.contains(&format!("/{volume}/")));
        for volume in others.iter().filter(|volume| !rests_on(volume)) {
            self.remove_volume(volume)?;
        }
        Ok(())
    }
}

/// What was copied is on the disk before it counts.
fn sync(place: &Path) -> std::io::Result<()> {
    let folder = fs::File::open(place)?;
    nix::unistd::syncfs(&folder).map_err(Into::into)
}
