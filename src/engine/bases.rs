//! What lies below the stores of a runner's jobs: stores that nobody writes to any more.
//!
//! The first base of an image has the image's own paths. A warm one has, besides, what jobs had from caches: it is made
//! anew for whatever is added, its files the last one's by hard links, and that one stays for the jobs whose stores rest
//! on it. Nothing of it was ever in a job's hands. A mark in it says what it is: without one, somebody fills it yet.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Cli, Container, Error,
    cli::Answer,
    container::store_volume,
    growth::{Growth, sync},
    layers::{layer_volume, upper},
};
use crate::value::{ImageDigest, RunnerName};

/// In a base, once all of its paths are there; of which image it is.
const WHOLE: &str = ".vega-builder-base";
/// In its place, once no job is to begin with it any more.
const GIVEN_UP: &str = "given up";
/// Letters of a digest in a name.
const SHORT: usize = 12;

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

#[cfg(test)]
mod tests {
    use super::{is_base_of, is_warm};

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
}
