//! The images that this host's engine has through us, whoever took them away in the meantime: what no runner is made of
//! any more, and none would go back to, need not stay.

use std::{fs, path::PathBuf};

use jiff::Timestamp;

use super::{Error, Places, places::replace};
use crate::value::ImageDigest;

const LEDGER: &str = ".images.json";
/// What an image is for may be written down only when the running job has ended, five days later at most.
const YOUNG: i64 = 6 * 24 * 3600;

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fetched {
    pub engine: String,
    /// Its name in its registry.
    pub name: String,
    pub digest: ImageDigest,
    pub at: Timestamp,
}

impl Fetched {
    /// As an engine names it.
    pub fn pinned(&self) -> String {
        format!("{}@{}", self.name, self.digest)
    }

    fn is(&self, engine: &str, name: &str, digest: &ImageDigest) -> bool {
        self.engine == engine && self.name == name && self.digest == *digest
    }
}

impl Places {
    /// Note that an engine is about to get an image for us.
    pub fn note_image(&self, engine: &str, name: &str, digest: &ImageDigest) -> Result<(), Error> {
        self.change_images(|images| {
            images.retain(|image| !image.is(engine, name, digest));
            let (engine, name) = (engine.to_owned(), name.to_owned());
            images.push(Fetched { engine, name, digest: digest.clone(), at: Timestamp::now() });
        })
    }

    /// One that we fetched is of use again.
    pub fn renew_image(&self, engine: &str, name: &str, digest: &ImageDigest) -> Result<(), Error> {
        if self.images()?.iter().any(|image| image.is(engine, name, digest)) {
            self.note_image(engine, name, digest)?;
        }
        Ok(())
    }

    /// Those of an engine that nobody here needs.
    pub fn unneeded_images(&self, engine: &str) -> Result<Vec<Fetched>, Error> {
        let mut images = self.images()?;
        let young = Timestamp::now().as_second() - YOUNG;
        images.retain(|image| image.engine == engine && image.at.as_second() < young);
        if !images.is_empty() {
            images.retain(|image| !self.is_needed(&image.digest));
        }
        Ok(images)
    }

    /// One is gone.
    pub fn forget_image(&self, gone: &Fetched) -> Result<(), Error> {
        self.change_images(|images| images.retain(|image| image != gone))
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.state.join(LEDGER)
    }

    fn images(&self) -> Result<Vec<Fetched>, Error> {
        let ledger = self.ledger();
        match fs::read(&ledger) {
            // One that cannot be read has nothing that anybody could miss.
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(why) => Err(Error::file(&ledger, why)),
        }
    }

    fn change_images(&self, change: impl FnOnce(&mut Vec<Fetched>)) -> Result<(), Error> {
        let _lock = self.alone()?;
        let mut images = self.images()?;
        change(&mut images);
        replace(&self.state, LEDGER, &images)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{LEDGER, Places};

    #[test]
    fn an_image_that_nobody_needs_is_named_once_it_is_no_longer_young_and_until_it_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        fs::create_dir_all(&places.state).unwrap();
        let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        places.note_image("podman", "ghcr.io/x/y", &digest).unwrap();
        places.note_image("podman", "ghcr.io/x/y", &digest).unwrap();
        assert_eq!(places.unneeded_images("podman").unwrap(), [], "it may be waiting for a job's end");
        let ledger = places.state.join(LEDGER);
        let text = fs::read_to_string(&ledger).unwrap();
        let year = jiff::Timestamp::now().strftime("%Y").to_string();
        fs::write(&ledger, text.replace(&format!("\"at\": \"{year}"), "\"at\": \"2001")).unwrap();
        assert_eq!(places.unneeded_images("docker").unwrap(), []);
        let [unneeded] = places.unneeded_images("podman").unwrap().try_into().unwrap();
        assert_eq!(unneeded.pinned(), format!("ghcr.io/x/y@{digest}"));
        places.forget_image(&unneeded).unwrap();
        assert_eq!(places.unneeded_images("podman").unwrap(), []);
        fs::write(&ledger, "half a li").unwrap();
        places.note_image("podman", "ghcr.io/x/y", &digest).unwrap();
    }
}
