//! What Nix knows of the paths of builds that have ended, for a pusher that has no Nix. The hook does not ask: a build
//! would wait for the answer.

use std::{collections::BTreeSet, fs, io};

use super::{Entry, NEW, PATHS, Queue, READY, ROOTS};
use crate::cache::{Error, PathInfo, Store};

/// So many builds are asked about at once.
const AT_ONCE: usize = 100;

impl Queue {
    /// Describe what is new, all of it; how many builds that were.
    pub fn describe(&self, store: &Store, say: impl Fn(&str)) -> io::Result<usize> {
        let ids = self.list(NEW)?;
        for ids in ids.chunks(AT_ONCE) {
            let _lock = self.lock()?;
            let entries = ids.iter().map(|id| Ok((id.as_str(), self.read(NEW, id)?)));
            let entries: Vec<(&str, Entry)> = entries.collect::<io::Result<_>>()?;
            match described(store, entries.iter().map(|(_, entry)| entry)) {
                Ok(infos) => self.ready(store, &entries, &infos)?,
                Err(_) => self.one_by_one(store, &entries, &say)?,
            }
        }
        Ok(ids.len())
    }

    /// One of them is not in the store any more, somehow: the others are.
    fn one_by_one(&self, store: &Store, entries: &[(&str, Entry)], say: &impl Fn(&str)) -> io::Result<()> {
        for (id, entry) in entries {
            match described(store, [entry].into_iter()) {
                Ok(infos) => self.ready(store, &[(*id, entry.clone())], &infos)?,
                Err(why) => {
                    say(&format!("{} cannot be pushed: {why}", entry.drv));
                    for number in 0..entry.outputs.len() {
                        super::gone(fs::remove_file(self.root.join(ROOTS).join(format!("{id}.{number}"))))?;
                    }
                    super::gone(fs::remove_file(self.file(NEW, id)))?;
                }
            }
        }
        Ok(())
    }

    fn ready(&self, store: &Store, entries: &[(&str, Entry)], infos: &[PathInfo]) -> io::Result<()> {
        for info in infos {
            if !self.file(PATHS, &info.key()).exists() {
                self.write(PATHS, &info.key(), &info.to_json(store.dir()))?;
            }
        }
        for (id, entry) in entries {
            self.write(READY, id, entry)?;
            super::gone(fs::remove_file(self.file(NEW, id)))?;
        }
        Ok(())
    }
}

fn described<'a>(store: &Store, entries: impl Iterator<Item = &'a Entry>) -> Result<Vec<PathInfo>, Error> {
    let outputs: BTreeSet<&String> = entries.flat_map(|entry| &entry.outputs).collect();
    store.closure(&outputs.into_iter().cloned().collect::<Vec<_>>())
}
