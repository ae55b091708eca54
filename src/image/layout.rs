//! An image layout on this machine (OCI image specification, image-layout.md) in the place of a registry: a folder with
//! `index.json` and blobs by digest, the signatures among them. What is read of it is believed no more than a registry is.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use serde::Deserialize;

use super::{Error, ImageReference, manifest::Listed};
use crate::value::ImageDigest;

/// How an entry of the index tells its tag (image specification, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// As many entries as an image with its signatures has, and many more.
const MOST_ENTRIES: usize = 1000;

/// A folder that holds an image, for the image's name.
#[derive(Debug, Clone)]
pub struct Layout {
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// What a manifest refers to.
#[derive(Deserialize)]
struct Referring {
    subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: String,
}

impl Layout {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn refuse(&self, image: &ImageReference, why: &dyn std::fmt::Display) -> Error {
        Error::Manifest { image: image.to_string(), why: format!("{}: {why}", self.folder.display()) }
    }

    /// A manifest by digest; or by tag, for which the only image of an index need not be named. And the digest under
    /// which it lies there.
    pub fn manifest(&self, image: &ImageReference, limit: usize) -> Result<(Vec<u8>, ImageDigest), Error> {
        let digest = match image.digest() {
            Some(digest) => digest,
            None => self.tagged(image, limit)?,
        };
        Ok((self.blob(image, &digest, limit)?, digest))
    }

    fn tagged(&self, image: &ImageReference, limit: usize) -> Result<ImageDigest, Error> {
        let missing = || Error::NotFound { image: image.to_string() };
        let entries = self.entries(image, limit)?;
        let name = |entry: &Entry| entry.annotations.get(REF_NAME).cloned();
        // Tools write the tag alone, or the whole name.
        let is_it = |entry: &&Entry| {
            name(entry).is_some_and(|name| name == image.tag_or_digest() || name == image.to_string())
        };
        let found = entries.iter().find(is_it).or_else(|| match entries.as_slice() {
            [only] if name(only).is_none() && !image.is_of_a_referrer() => Some(only),
            _ => None,
        });
        found.and_then(|entry| entry.digest.parse().ok()).ok_or_else(missing)
    }

    /// The folder, and the name that the image has in it, when it has one.
    pub fn place(&self, image: &ImageReference) -> Result<(&Path, Option<String>), Error> {
        let limit = super::registry::LARGEST_MANIFEST;
        let wanted = match image.digest() {
            Some(digest) => digest,
            None => self.tagged(image, limit)?,
        };
        let entries = self.entries(image, limit)?;
        let entry = entries.into_iter().find(|entry| entry.digest == wanted.as_str());
        let mut entry = entry.ok_or_else(|| Error::NotFound { image: image.to_string() })?;
        Ok((&self.folder, entry.annotations.remove(REF_NAME)))
    }

    fn entries(&self, image: &ImageReference, limit: usize) -> Result<Vec<Entry>, Error> {
        let bytes = self.read("index.json", limit).map_err(|why| self.refuse(image, &why))?;
        let index: Index = serde_json::from_slice(&bytes).map_err(|why| self.refuse(image, &why))?;
        Ok(index.manifests.into_iter().take(MOST_ENTRIES).collect())
    }

    /// A blob's bytes; that they are those of its digest is for the caller to see.
    pub fn blob(&self, image: &ImageReference, digest: &ImageDigest, limit: usize) -> Result<Vec<u8>, Error> {
        let path = format!("blobs/sha256/{}", digest.hex());
        match self.read(&path, limit) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::NotFound { image: image.pinned(digest).to_string() })
            }
            read => read.map_err(|why| self.refuse(image, &why)),
        }
    }

    /// Every entry of the index whose manifest refers to `subject`.
    pub fn referrers(
        &self,
        image: &ImageReference,
        subject: &ImageDigest,
        limit: usize,
    ) -> Result<Vec<Listed>, Error> {
        let mut found = Vec::new();
        for entry in self.entries(image, limit)? {
            let Ok(digest) = entry.digest.parse::<ImageDigest>() else { continue };
            // What is gone, or no manifest, refers to nothing.
            let Ok(bytes) = self.blob(image, &digest, limit) else { continue };
            let referring = serde_json::from_slice::<Referring>(&bytes).ok().and_then(|read| read.subject);
            if referring.is_some_and(|of| of.digest == subject.as_str()) {
                found.push(Listed::named(entry.digest));
            }
        }
        Ok(found)
    }

    /// A plain file of the folder's, within its limit: no link that leads elsewhere, no pipe that never ends.
    fn read(&self, path: &str, limit: usize) -> std::io::Result<Vec<u8>> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(self.folder.join(path))?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other(format!("{path} is no plain file")));
        }
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(std::io::Error::other(format!("{path} is larger than {limit} bytes")));
        }
        Ok(bytes)
    }
}
