//! What the cache has already. A path that it has needs no word of Nix's: its own narinfo tells what it refers to.

use std::collections::{HashMap, VecDeque};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use harmonia_store_core::store_path::StorePath;

use crate::cache::{Error, place::Place, retry::patiently};

/// So many questions are under way at first; each answer makes room for one more, up to what the cache can take.
const AT_FIRST: usize = 128;

/// Every path that the cache was asked about, and whether it has it.
#[derive(Default)]
pub struct Present {
    known: HashMap<StorePath, bool>,
}

impl Present {
    /// Ask about these paths; with `on` about all that those refer to which it has, too.
    pub async fn ask(
        &mut self,
        place: &Place,
        paths: impl IntoIterator<Item = StorePath>,
        on: bool,
    ) -> Result<(), Error> {
        let mut left = VecDeque::new();
        let mut unknown = |paths: &mut dyn Iterator<Item = StorePath>, left: &mut VecDeque<StorePath>| {
            for path in paths {
                if !self.known.contains_key(&path) {
                    self.known.insert(path.clone(), false);
                    left.push_back(path);
                }
            }
        };
        unknown(&mut paths.into_iter(), &mut left);
        let most = place.questions();
        let mut window = AT_FIRST.min(most);
        let mut had = Vec::new();
        let mut asked = FuturesUnordered::new();
        loop {
            while asked.len() < window
                && let Some(path) = left.pop_front()
            {
                asked.push(async move {
                    let references = patiently(|| place.references(&path)).await;
                    (path, references)
                });
            }
            let Some((path, references)) = asked.next().await else { break };
            if let Some(references) = references? {
                had.push(path);
                if on {
                    unknown(&mut references.into_iter(), &mut left);
                }
            }
            window = (window + 1).min(most);
        }
        self.known.extend(had.into_iter().map(|path| (path, true)));
        Ok(())
    }

    /// Whether the cache said that it has it.
    pub fn has(&self, path: &StorePath) -> bool {
        self.known.get(path).copied().unwrap_or_default()
    }

    /// Those that it has.
    pub fn all(&self) -> impl Iterator<Item = &StorePath> {
        self.known.iter().filter(|(_, has)| **has).map(|(path, _)| path)
    }

    /// Those that it has not.
    pub fn absent(&self) -> impl Iterator<Item = &StorePath> {
        self.known.iter().filter(|(_, has)| !**has).map(|(path, _)| path)
    }
}
