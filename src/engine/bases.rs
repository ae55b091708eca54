//! What lies below the stores of a runner's jobs: stores that nobody writes to any more.
//!
//! The first base of an image has the image's own paths. A warm one has, besides, what jobs had from caches: it is made
//! anew for whatever is added, its files the last one's by hard links, and that one stays for the jobs whose stores rest
//! on it. Nothing of it was ever in a job's hands.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use super::{
    Cli, Container, Error,
    cli::Answer,
    container::store_volume,
    layers::upper,
    linking::{copy_as, link_tree},
};
use crate::value::{ImageDigest, RunnerName};

/// In a base, once all of its paths are there; of which image it is.
const WHOLE: &str = ".vega-builder-base";
const DATABASE: &str = "var/nix/db";
/// No collection of garbage in a job's store looks at what would free nothing.
const ROOTS: &str = "var/nix/gcroots/vega-builder";

/// The volume below the stores of a runner's jobs, of one image.
pub fn base_volume(runner: &RunnerName, image: &ImageDigest) -> String {
    format!("{}{}", base_prefix(runner), image.short())
}

/// What the names of all of them begin with.
pub fn base_prefix(runner: &RunnerName) -> String {
    format!("{runner}-base-")
}

impl Cli {
    /// A base with every store path of the container's image in it; whether it had to be made.
    pub fn keep_base(&self, container: &Container) -> Result<bool, Error> {
        let volume = base_volume(container.instance(), container.image.value());
        if let Some(place) = self.volume_place(&volume)? {
            if is_whole(&place, container.image.value()) {
                return Ok(false);
            }
            // A copy that was cut short: no job has had it, but what copied may still hold it.
            self.remove(&container.seeder_name())?;
            self.remove_volume(&volume)?;
        }
        self.make_volume(&volume, container.instance())?;
        self.seed_into(&volume, container)?;
        let place = self.volume_place(&volume)?.unwrap_or_default();
        complete(&place, container.image.value()).map_err(|why| Error::Volume { volume, why })?;
        Ok(true)
    }

    /// The base of the container's image with nothing else in it.
    pub fn first_base(&self, container: &Container) -> String {
        base_volume(container.instance(), container.image.value())
    }

    /// The base with the most in it, of the container's image.
    pub fn warmest_base(&self, container: &Container) -> Result<String, Error> {
        let first = base_volume(container.instance(), container.image.value());
        for (_, volume) in self.warm_bases(&first)?.into_iter().rev() {
            if self.volume_place(&volume)?.is_some_and(|place| is_whole(&place, container.image.value())) {
                return Ok(volume);
            }
        }
        Ok(first)
    }

    /// The warm ones over `first`, the oldest first.
    fn warm_bases(&self, first: &str) -> Result<Vec<(u32, String)>, Error> {
        let prefix = format!("{first}-");
        let number = |volume: &String| volume.strip_prefix(&prefix)?.parse::<u32>().ok();
        let volumes = self.volumes(&prefix)?.into_iter();
        let mut bases: Vec<_> = volumes.filter_map(|volume| Some((number(&volume)?, volume))).collect();
        bases.sort();
        Ok(bases)
    }

    /// A base that is `below` and, of what `filler` has over it, the paths named: its name, and how many that were; nothing,
    /// when none of them is there.
    pub fn grow_base(
        &self,
        filler: &Container,
        below: &str,
        fetched: &[String],
    ) -> Result<Option<(String, usize)>, Error> {
        let first = base_volume(filler.instance(), filler.image.value());
        let next = self.warm_bases(&first)?.last().map_or(1, |(last, _)| last + 1);
        let volume = format!("{first}-{next}");
        let failed = |why| Error::Volume { volume: volume.clone(), why };
        let added = upper(&self.place_of(&super::layers::layer_volume(&filler.name))?);
        let lower = self.place_of(below)?;
        let fetched: Vec<&String> = fetched
            .iter()
            .filter(|path| added.join("store").join(path).symlink_metadata().is_ok())
            .filter(|path| lower.join("store").join(path).symlink_metadata().is_err())
            .collect();
        if fetched.is_empty() {
            return Ok(None);
        }
        self.make_volume(&volume, filler.instance())?;
        let place = self.place_of(&volume)?;
        let grown = grow(&place, &lower, &added, &fetched);
        if let Err(why) = grown.and_then(|()| complete(&place, filler.image.value())) {
            self.remove_volume(&volume)?;
            return Err(failed(why));
        }
        Ok(Some((volume, fetched.len())))
    }

    pub(super) fn place_of(&self, volume: &str) -> Result<PathBuf, Error> {
        let why = || io::Error::other("the engine does not say where it is");
        self.volume_place(volume)?.ok_or_else(|| Error::Volume { volume: volume.to_owned(), why: why() })
    }

    /// Remove the bases that no job's store rests on any more, but the image's own and `warmest`.
    pub fn prune_bases(&self, runner: &RunnerName, image: &ImageDigest, warmest: &str) -> Result<(), Error> {
        let first = base_volume(runner, image);
        let is_kept = |volume: &String| *volume == first || volume == warmest;
        let others: Vec<String> =
            self.volumes(&base_prefix(runner))?.into_iter().filter(|volume| !is_kept(volume)).collect();
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

    /// Forget every warm base: jobs that rest on one keep it until they end, and no other begins with it.
    pub fn cool_bases(&self, container: &Container) -> Result<bool, Error> {
        let (runner, image) = (container.instance(), container.image.value());
        let first = base_volume(runner, image);
        let warm = self.warm_bases(&first)?;
        for (_, volume) in &warm {
            let marker = self.place_of(volume)?.join(WHOLE);
            fs::remove_file(marker)
                .or_else(absent)
                .map_err(|why| Error::Volume { volume: volume.clone(), why })?;
        }
        self.prune_bases(runner, image, &first)?;
        Ok(!warm.is_empty())
    }
}

fn absent(why: io::Error) -> io::Result<()> {
    if why.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(why) }
}

fn is_whole(place: &Path, image: &ImageDigest) -> bool {
    fs::read_to_string(place.join(WHOLE)).is_ok_and(|whole| whole == image.to_string())
}

/// What was copied is on the disk before it counts.
fn complete(place: &Path, image: &ImageDigest) -> io::Result<()> {
    let sync = || nix::unistd::syncfs(&File::open(place)?).map_err(io::Error::from);
    sync()?;
    fs::write(place.join(WHOLE), image.to_string())?;
    sync()
}

/// The paths of `lower` and those `fetched` in `added`, whose database knows both, each held by a root.
fn grow(place: &Path, lower: &Path, added: &Path, fetched: &[&String]) -> io::Result<()> {
    copy_as(lower, place)?;
    let store = place.join("store");
    copy_as(&lower.join("store"), &store)?;
    for entry in fs::read_dir(lower.join("store"))? {
        let entry = entry?;
        // `.links` is Nix's own, for its optimisation.
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            link_tree(&entry.path(), &store.join(entry.file_name()))?;
        }
    }
    for path in fetched {
        link_tree(&added.join("store").join(path), &store.join(path))?;
    }
    let owner = lower.join("store").metadata()?;
    let folder = |path: &Path| -> io::Result<()> {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        chown(path, Some(owner.uid()), Some(owner.gid()))
    };
    for path in ["var", "var/nix", DATABASE, "var/nix/gcroots", ROOTS] {
        folder(&place.join(path))?;
    }
    for entry in fs::read_dir(added.join(DATABASE))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let target = place.join(DATABASE).join(entry.file_name());
            fs::copy(entry.path(), &target)?;
            copy_as(&entry.path(), &target)?;
        }
    }
    let held = match fs::read_dir(lower.join(ROOTS)) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<BTreeSet<_>>>()?,
        Err(why) => absent(why).map(|()| BTreeSet::new())?,
    };
    for name in held.into_iter().chain(fetched.iter().map(Into::into)) {
        symlink(Path::new("/nix/store").join(&name), place.join(ROOTS).join(&name))?;
    }
    Ok(())
}
