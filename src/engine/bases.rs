//! What lies below the stores of a runner's jobs: stores that nobody writes to any more.
//!
//! The first base of an image has the image's own paths. A warm one has, besides, what jobs had from caches: it is made
//! anew for whatever is added, its files the last one's by hard links, and that one stays for the jobs whose stores rest
//! on it. Nothing of it was ever in a job's hands. A mark in it says what it is: without one, somebody fills it yet.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use super::{
    Cli, Container, Error,
    cli::Answer,
    container::store_volume,
    layers::{layer_volume, upper},
    linking::{copy_as, link_tree},
};
use crate::{
    contract,
    value::{ImageDigest, RunnerName},
};

/// In a base, once all of its paths are there; of which image it is.
const WHOLE: &str = ".vega-builder-base";
/// In its place, once no job is to begin with it any more.
const GIVEN_UP: &str = "given up";
/// Letters of a digest in a name.
const SHORT: usize = 12;
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
        self.new_volume(&volume, container.instance())?;
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

    /// A base to be, one more than there is: nobody begins with it, and nobody removes it, before it has been grown.
    pub fn next_base(&self, filler: &Container) -> Result<String, Error> {
        let first = self.first_base(filler);
        let next = self.warm_bases(&first)?.last().map_or(1, |(last, _)| last + 1);
        let volume = format!("{first}-{next}");
        self.new_volume(&volume, filler.instance())?;
        Ok(volume)
    }

    /// Make it what is `below` and, of the paths that `filler` knows, those that it has over that: how many that were. It
    /// may take a while, and needs nobody's lock.
    pub fn grow_base(
        &self,
        volume: &str,
        below: &str,
        filler: &Container,
        known: &[String],
    ) -> Result<usize, Error> {
        let added = upper(&self.place_of(&layer_volume(&filler.name))?);
        let growth = Growth { place: self.place_of(volume)?, lower: self.place_of(below)?, added };
        growth.grow(known).map_err(|why| Error::Volume { volume: volume.to_owned(), why })
    }

    /// From now on jobs begin with it.
    pub fn complete_base(&self, volume: &str, filler: &Container) -> Result<(), Error> {
        complete(&self.place_of(volume)?, filler.image.value())
            .map_err(|why| Error::Volume { volume: volume.to_owned(), why })
    }

    /// Remove those that nobody grows any more: whoever did was killed.
    pub fn forget_unfinished_bases(&self, runner: &RunnerName) -> Result<(), Error> {
        for volume in self.bases(runner)? {
            if is_warm(&volume) && !self.place_of(&volume)?.join(WHOLE).exists() {
                self.remove_volume(&volume)?;
            }
        }
        Ok(())
    }

    pub(super) fn place_of(&self, volume: &str) -> Result<PathBuf, Error> {
        let why = || io::Error::other("the engine does not say where it is");
        self.volume_place(volume)?.ok_or_else(|| Error::Volume { volume: volume.to_owned(), why: why() })
    }

    /// All of a runner's.
    pub fn bases(&self, runner: &RunnerName) -> Result<Vec<String>, Error> {
        let volumes = self.volumes(&base_prefix(runner))?;
        Ok(volumes.into_iter().filter(|volume| is_base_of(runner, volume)).collect())
    }

    /// Remove the bases that no job's store rests on any more, but the image's own and `warmest`, and one that grows.
    pub fn prune_bases(&self, runner: &RunnerName, image: &ImageDigest, warmest: &str) -> Result<(), Error> {
        let first = base_volume(runner, image);
        let mut others = Vec::new();
        for volume in self.bases(runner)?.into_iter().filter(|volume| *volume != first && volume != warmest) {
            let grows = is_warm(&volume) && !self.place_of(&volume)?.join(WHOLE).exists();
            if !grows {
                others.push(volume);
            }
        }
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

    /// Give every warm base up: jobs that rest on one keep it until they end, and no other begins with it.
    pub fn cool_bases(&self, container: &Container) -> Result<bool, Error> {
        let (runner, image) = (container.instance(), container.image.value());
        let first = base_volume(runner, image);
        let mut were_warm = false;
        for (_, volume) in self.warm_bases(&first)? {
            let place = self.place_of(&volume)?;
            if is_whole(&place, image) {
                were_warm = true;
                fs::write(place.join(WHOLE), GIVEN_UP).map_err(|why| Error::Volume { volume, why })?;
            }
        }
        self.prune_bases(runner, image, &first)?;
        Ok(were_warm)
    }
}

/// One by a runner's name and an image's digest, and not the store of a runner whose name begins like that.
fn is_base_of(runner: &RunnerName, volume: &str) -> bool {
    let is_hex = |text: &str| text.len() == SHORT && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    volume.strip_prefix(&base_prefix(runner)).is_some_and(|rest| match rest.split_once('-') {
        None => is_hex(rest),
        Some((image, number)) => is_hex(image) && number.parse::<u32>().is_ok(),
    })
}

/// Of a base's name.
fn is_warm(volume: &str) -> bool {
    volume.rsplit_once('-').is_some_and(|(first, _)| {
        first.rsplit_once('-').is_some_and(|(rest, image)| image.len() == SHORT && rest.ends_with("-base"))
    })
}

fn is_whole(place: &Path, image: &ImageDigest) -> bool {
    fs::read_to_string(place.join(WHOLE)).is_ok_and(|whole| whole == image.to_string())
}

/// What was copied is on the disk before it counts.
fn complete(place: &Path, image: &ImageDigest) -> io::Result<()> {
    sync(place)?;
    fs::write(place.join(WHOLE), image.to_string())?;
    sync(place)
}

fn sync(place: &Path) -> io::Result<()> {
    nix::unistd::syncfs(&File::open(place)?).map_err(Into::into)
}

/// A base that is made of another one and what lies over it.
struct Growth {
    place: PathBuf,
    lower: PathBuf,
    added: PathBuf,
}

impl Growth {
    /// The paths of `lower`, and those that are `known` in `added`, whose database knows both, each held by a root.
    fn grow(&self, known: &[String]) -> io::Result<usize> {
        let Self { place, lower, added } = self;
        let has = |folder: &Path, path: &str| folder.join("store").join(path).symlink_metadata().is_ok();
        let new: Vec<&String> = known.iter().filter(|path| !has(lower, path)).collect();
        if let Some(missing) = new.iter().find(|path| !has(added, path)) {
            return Err(io::Error::other(format!("{missing} is known to Nix, and not there")));
        }
        if new.is_empty() {
            return Ok(0);
        }
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
        for path in &new {
            link_tree(&added.join("store").join(path), &store.join(path))?;
        }
        self.copy_database()?;
        self.hold(&new)?;
        sync(place)?;
        Ok(new.len())
    }

    fn copy_database(&self) -> io::Result<()> {
        let owner = self.lower.join("store").metadata()?;
        for path in ["var", "var/nix", DATABASE, "var/nix/gcroots", ROOTS] {
            let folder = self.place.join(path);
            fs::create_dir_all(&folder)?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
            chown(&folder, Some(owner.uid()), Some(owner.gid()))?;
        }
        // What the filler has not written again is the lower one's.
        for folder in [&self.lower, &self.added] {
            for entry in entries(&folder.join(DATABASE))? {
                if entry.file_type()?.is_file() {
                    let target = self.place.join(DATABASE).join(entry.file_name());
                    fs::copy(entry.path(), &target)?;
                    copy_as(&entry.path(), &target)?;
                }
            }
        }
        Ok(())
    }

    fn hold(&self, new: &[&String]) -> io::Result<()> {
        let held = entries(&self.lower.join(ROOTS))?.into_iter().map(|entry| entry.file_name());
        for name in held.chain(new.iter().map(Into::into)) {
            symlink(Path::new(contract::STORE).join(&name), self.place.join(ROOTS).join(&name))?;
        }
        Ok(())
    }
}

/// None, where there is no such folder.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{Growth, is_base_of, is_warm};

    #[test]
    fn a_base_is_its_runners_and_no_volume_of_another_one_is() {
        let runner = "vega-nix".parse().unwrap();
        for (volume, warm) in [("vega-nix-base-0123456789ab", false), ("vega-nix-base-0123456789ab-12", true)]
        {
            assert!(is_base_of(&runner, volume), "{volume}");
            assert_eq!(is_warm(volume), warm, "{volume}");
        }
        for other in [
            "vega-nix-base-images-store",
            "vega-nix-base-images-base-0123456789ab",
            "vega-nix-base-0123456789ab-store",
            "vega-nix-base-0123456789a",
            "vega-nix-base-",
            "vega-nix2-base-0123456789ab",
        ] {
            assert!(!is_base_of(&runner, other), "{other}");
        }
    }

    fn path(root: &Path, name: &str) {
        fs::create_dir_all(root.join("store").join(name)).unwrap();
        fs::write(root.join("store").join(name).join("file"), name).unwrap();
    }

    fn growth(folder: &Path) -> Growth {
        let [place, lower, added] = ["place", "lower", "added"].map(|name| folder.join(name));
        fs::create_dir_all(&place).unwrap();
        path(&lower, "old");
        path(&added, "new");
        path(&added, "half-fetched");
        fs::create_dir_all(added.join("var/nix/db")).unwrap();
        fs::write(added.join("var/nix/db/db.sqlite"), "new").unwrap();
        fs::create_dir_all(lower.join("var/nix/db")).unwrap();
        for (file, text) in [("db.sqlite", "old"), ("schema", "10")] {
            fs::write(lower.join("var/nix/db").join(file), text).unwrap();
        }
        Growth { place, lower, added }
    }

    #[test]
    fn what_nix_knows_is_there_held_by_a_root_and_what_was_fetched_by_half_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let growth = growth(folder.path());
        assert_eq!(growth.grow(&["new".to_owned(), "old".to_owned()]).unwrap(), 1);
        let read = |path: &str| fs::read_to_string(growth.place.join(path)).unwrap_or_default();
        assert_eq!((read("store/new/file"), read("store/old/file")), ("new".to_owned(), "old".to_owned()));
        assert_eq!(
            (read("var/nix/db/db.sqlite"), read("var/nix/db/schema")),
            ("new".to_owned(), "10".to_owned())
        );
        assert!(!growth.place.join("store/half-fetched").exists());
        let root = growth.place.join("var/nix/gcroots/vega-builder/new");
        assert_eq!(fs::read_link(root).unwrap(), Path::new("/nix/store/new"));
        assert_eq!(growth.grow(&["old".to_owned()]).unwrap(), 0);
    }

    #[test]
    fn a_database_that_knows_what_is_not_there_makes_no_base() {
        let folder = tempfile::tempdir().unwrap();
        let why = growth(folder.path()).grow(&["new".to_owned(), "gone".to_owned()]).unwrap_err();
        assert!(why.to_string().contains("gone is known to Nix, and not there"), "{why}");
    }
}
