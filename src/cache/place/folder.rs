//! A cache in a folder. Narinfos wait beside their places until all that was written is on the disk, and get their names
//! then: neither a crash nor a power cut leaves one without its NAR, and the disk is waited for once for many.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::unistd::syncfs;
use tempfile::{NamedTempFile, TempPath};

use super::Stream;
use crate::cache::{Error, pack::Piece};

#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    /// What waits for the disk, and the name that it gets.
    waiting: Arc<Mutex<Vec<(TempPath, PathBuf)>>>,
}

/// A file that is being written; what a crash left of them goes after a day.
const NEW: &str = ".new-";
const LEFT: Duration = Duration::from_secs(24 * 3600);

impl Folder {
    pub fn new(root: PathBuf) -> Self {
        Self { root, waiting: Arc::default() }
    }

    /// Remove what pushes that were broken off have left.
    pub fn tidy(&self) {
        for folder in [self.root.clone(), self.root.join("nar")] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let age = entry.metadata().and_then(|found| found.modified()).ok();
                let is_old = age.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > LEFT);
                if is_old && entry.file_name().to_string_lossy().starts_with(NEW) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.root.join(name).is_file()
    }

    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.root.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(Error::Disk { path, why }),
        }
    }

    pub async fn put(&self, name: &str, bytes: Piece) -> Result<(), Error> {
        self.write(name, move |file| io::Write::write_all(file, &bytes)).await
    }

    pub async fn stream(&self, name: &str, mut stream: Stream) -> Result<(), Error> {
        self.write(name, move |file| {
            while let Some(piece) = stream.pieces.blocking_recv() {
                io::Write::write_all(file, &piece?)?;
            }
            Ok(())
        })
        .await
    }

    /// Write a narinfo, which gets its name when it is committed.
    pub async fn announce(&self, name: &str, bytes: Piece) -> Result<(), Error> {
        let (path, waiting) = (self.root.join(name), self.waiting.clone());
        self.blocking(name, move || {
            let file = written(&path, |file| io::Write::write_all(file, &bytes))?.into_temp_path();
            waiting.lock().unwrap_or_else(PoisonError::into_inner).push((file, path));
            Ok(())
        })
        .await
    }

    /// Wait for the disk, then give the narinfos their names.
    pub async fn commit(&self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Ok(());
        }
        let root = self.root.clone();
        self.blocking("", move || {
            let folder = File::open(&root)?;
            syncfs(&folder)?;
            for (file, path) in waiting {
                file.persist(path)?;
            }
            Ok(syncfs(&folder)?)
        })
        .await
    }

    async fn write(
        &self,
        name: &str,
        fill: impl FnOnce(&mut NamedTempFile) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let path = self.root.join(name);
        self.blocking(name, move || {
            written(&path, fill)?.persist(path)?;
            Ok(())
        })
        .await
    }

    async fn blocking(
        &self,
        name: &str,
        work: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.unwrap_or_else(|why| std::panic::resume_unwind(why.into_panic()));
        done.map_err(|why| Error::Disk { path: self.root.join(name), why })
    }
}

/// The whole file, beside the place that it is for; dropped, nothing of it is left.
fn written(
    path: &Path,
    fill: impl FnOnce(&mut NamedTempFile) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut new = tempfile::Builder::new().prefix(NEW).tempfile_in(folder)?;
    fill(&mut new)?;
    // It is read by whoever serves the cache.
    new.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::{Folder, Stream};

    #[tokio::test]
    async fn a_narinfo_gets_its_name_when_it_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path().to_owned());
        place.announce("a.narinfo", "text".into()).await.unwrap();
        assert!(!place.has("a.narinfo"));
        place.commit().await.unwrap();
        assert_eq!(place.get("a.narinfo").unwrap().unwrap(), b"text");
        // Dropped before that, it leaves nothing.
        place.announce("b.narinfo", "text".into()).await.unwrap();
        drop(place);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_file_is_there_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path().join("new"));
        assert!(!place.has("nar/a") && place.get("nar/a").unwrap().is_none());
        let (send, pieces) = tokio::sync::mpsc::channel(1);
        let written = tokio::spawn({
            let place = place.clone();
            async move { place.stream("nar/a", Stream { pieces, size: None, hash: None }).await }
        });
        send.send(Ok("ab".into())).await.unwrap();
        assert!(!place.has("nar/a"));
        send.send(Ok("cd".into())).await.unwrap();
        drop(send);
        written.await.unwrap().unwrap();
        assert_eq!(place.get("nar/a").unwrap().unwrap(), b"abcd");
        // One that is broken off is not there at all.
        let (send, pieces) = tokio::sync::mpsc::channel(2);
        send.send(Ok("ab".into())).await.unwrap();
        send.send(Err(std::io::Error::other("gone"))).await.unwrap();
        assert!(place.stream("nar/b", Stream { pieces, size: None, hash: None }).await.is_err());
        assert_eq!(std::fs::read_dir(folder.path().join("new/nar")).unwrap().count(), 1);
    }
}
