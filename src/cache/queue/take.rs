//! The pusher's side: builds whose closure is described, and their end.

use std::{collections::HashSet, fs, io, path::Path, str::FromStr as _};

use harmonia_store_core::store_path::{StoreDir, StorePath};

use super::{Entry, NEW, PATHS, PROVENANCE, Queue, READY};
use crate::cache::{PathInfo, info, provenance::Envelope, store::references_first};

/// Builds that are pushed together.
pub struct Batch {
    pub builds: Vec<(String, Entry)>,
    /// The closure of all of them.
    pub infos: Vec<PathInfo>,
}

/// So many builds go together: more would only come later into the cache.
const AT_ONCE: usize = 64;

impl Queue {
    /// The oldest builds that wait, with the whole of their closure.
    pub fn take(&self, store: &StoreDir) -> io::Result<Option<Batch>> {
        let mut ids = self.list(READY)?;
        ids.truncate(AT_ONCE);
        if ids.is_empty() {
            return Ok(None);
        }
        let builds: Vec<(String, Entry)> = ids
            .into_iter()
            .map(|id| self.read(READY, &id).map(|entry| (id, entry)))
            .collect::<io::Result<_>>()?;
        match self.closure(&builds, store) {
            Ok(infos) => Ok(Some(Batch { builds, infos })),
            Err(why) => {
                // What cannot be read is described anew; whose the files are stays as it is.
                for (id, _) in &builds {
                    fs::rename(self.file(READY, id), self.file(NEW, id))?;
                }
                Err(why)
            }
        }
    }

    /// All that the builds' outputs refer to, references first.
    fn closure(&self, builds: &[(String, Entry)], store: &StoreDir) -> io::Result<Vec<PathInfo>> {
        let outputs = builds.iter().flat_map(|(_, entry)| &entry.outputs);
        let mut left: Vec<StorePath> = outputs.map(|name| path(name, store)).collect::<io::Result<_>>()?;
        let (mut seen, mut infos) = (HashSet::new(), Vec::new());
        while let Some(path) = left.pop() {
            if seen.insert(path.clone()) {
                let info = self.info(&path, store).inspect_err(|_| {
                    let _ = fs::remove_file(self.file(PATHS, &path.hash().to_string()));
                })?;
                left.extend(info.others().cloned());
                infos.push(info);
            }
        }
        Ok(references_first(infos))
    }

    fn info(&self, path: &StorePath, store: &StoreDir) -> io::Result<PathInfo> {
        let file = self.file(PATHS, &path.hash().to_string());
        let wrong = |why: String| io::Error::other(format!("{}: {why}", file.display()));
        let text = fs::read_to_string(&file).map_err(|why| wrong(why.to_string()))?;
        let infos = info::parse(&format!("[{text}]"), store).map_err(wrong)?;
        infos
            .into_iter()
            .find(|info| info.path == *path)
            .ok_or_else(|| wrong("it is of another path".to_owned()))
    }

    /// Keep where a path was built.
    pub fn keep_provenance(&self, path: &StorePath, envelope: &Envelope) -> io::Result<()> {
        self.write(PROVENANCE, &path.hash().to_string(), envelope)
    }

    /// What was kept of a path's build in a queue's folder.
    pub fn provenance(queue: &Path, path: &StorePath) -> Option<Envelope> {
        let file = queue.join(PROVENANCE).join(format!("{}.json", path.hash()));
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }

    /// These are done with.
    pub fn done(&self, builds: &[(String, Entry)]) -> io::Result<()> {
        builds.iter().try_for_each(|(id, entry)| self.forget(id, entry))
    }

    /// Descriptions that no build needs any more go; what comes later is described anew.
    pub fn tidy(&self) -> io::Result<()> {
        let _lock = self.lock()?;
        if !self.list(NEW)?.is_empty() || !self.list(READY)?.is_empty() {
            return Ok(());
        }
        self.list(PATHS)?.iter().try_for_each(|key| super::gone(fs::remove_file(self.file(PATHS, key))))
    }
}

fn path(name: &str, store: &StoreDir) -> io::Result<StorePath> {
    let base = name.strip_prefix(store.to_str()).map(|rest| rest.trim_start_matches('/'));
    base.and_then(|base| StorePath::from_str(base).ok())
        .ok_or_else(|| io::Error::other(format!("'{name}' is no store path")))
}
