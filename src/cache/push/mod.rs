//! The push itself: what is there already, what is upstream, what must not leave; then NARs side by side, and each
//! narinfo when all that its path refers to can be had.

mod gate;
mod nar;
mod present;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use harmonia_store_core::{signature::SecretKey, store_path::StorePath};

use self::{gate::Sending, present::Present};
use super::{
    Error, PathInfo, Store,
    compression::Compression,
    meter::Meter,
    narinfo::{self, File},
    pack::Piece,
    place::Place,
    processors,
    provenance::{self, Envelope},
    retry::patiently,
    secrets::Scanner,
    upstream::Upstreams,
};

/// From where, to where, and by which rules.
pub struct Push {
    pub store: Store,
    pub place: Place,
    pub upstreams: Upstreams,
    /// None: nothing is looked through.
    pub scanner: Option<Scanner>,
    /// None: what is pushed has the signatures that it came with.
    pub key: Option<SecretKey>,
    /// What signs where a path was built: the same key, or the host's own where the cache signs the paths itself.
    pub provenance_key: Option<SecretKey>,
    pub compression: Compression,
    pub meter: Arc<Meter>,
}

/// What became of a closure.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many paths it has.
    pub closure: usize,
    /// Were in the cache already.
    pub present: usize,
    /// Are in another cache, which has them for certain.
    pub upstream: usize,
    pub pushed: Vec<StorePath>,
    pub refused: Vec<Refused>,
    /// Why a garbage collection could have taken them while they were pushed.
    pub unheld: Option<String>,
}

/// A path that stays here.
#[derive(Debug)]
pub struct Refused {
    pub path: StorePath,
    pub why: String,
}

impl Push {
    /// Push the closure of what is named. What was announced stays announced when a later path fails: the same push
    /// again goes on from there.
    pub async fn run(self: &Arc<Self>, wanted: Vec<String>) -> Result<Outcome, Error> {
        self.upstreams.ask_again();
        let mut present = Present::default();
        let paths: HashMap<&String, StorePath> =
            wanted.iter().filter_map(|name| Some((name, self.store.named(name)?))).collect();
        let (is_cache, ()) = tokio::try_join!(
            patiently(|| self.place.is_ours(self.store.dir())),
            present.ask(&self.place, paths.values().cloned(), true)
        )?;
        let named: HashSet<&StorePath> = paths.values().collect();
        // What a path that is there refers to is there as well, or upstream; else Nix is asked for all of it.
        let below: Vec<StorePath> = present.absent().filter(|path| !named.contains(path)).cloned().collect();
        let count = below.len();
        let upstream = self.upstream(below).await;
        let is_whole = upstream.len() == count;
        let is_there = |name: &String| is_whole && paths.get(name).is_some_and(|path| present.has(path));
        let rest: Vec<String> = wanted.iter().filter(|name| !is_there(name)).cloned().collect();
        let of = self.clone();
        let infos =
            if rest.is_empty() { Vec::new() } else { blocking(move || of.store.closure(&rest)).await? };
        self.send(infos, is_cache, present, upstream).await
    }

    /// The same for a closure that is described already, references first.
    pub async fn run_described(self: &Arc<Self>, infos: Vec<PathInfo>) -> Result<Outcome, Error> {
        self.upstreams.ask_again();
        let is_cache = patiently(|| self.place.is_ours(self.store.dir())).await?;
        self.send(infos, is_cache, Present::default(), HashSet::new()).await
    }

    async fn send(
        self: &Arc<Self>,
        infos: Vec<PathInfo>,
        is_cache: bool,
        mut present: Present,
        mut upstream: HashSet<StorePath>,
    ) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        if !is_cache {
            patiently(|| self.place.become_ours(self.store.dir())).await?;
        }
        present.ask(&self.place, infos.iter().map(|info| info.path.clone()), false).await?;
        let infos: Vec<PathInfo> = infos.into_iter().filter(|info| !present.has(&info.path)).collect();
        let asked = infos.iter().map(|info| info.path.clone()).filter(|path| !upstream.contains(path));
        let more = self.upstream(asked.collect()).await;
        upstream.extend(more);
        let infos: Vec<PathInfo> = infos.into_iter().filter(|info| !upstream.contains(&info.path)).collect();
        (outcome.present, outcome.upstream) = (present.all().count(), upstream.len());
        outcome.closure = outcome.present + outcome.upstream + infos.len();
        let (infos, refused) = self.harmless(infos).await?;
        outcome.refused = refused;
        self.meter.expect(infos.len() as u64, infos.iter().map(|info| info.nar_size).sum());
        let roots = self.hold(&infos);
        outcome.unheld = roots.as_ref().err().map(ToString::to_string);
        Sending::new(self, infos, &mut outcome).run().await?;
        Ok(outcome)
    }

    /// Those that another cache has for certain.
    async fn upstream(&self, paths: Vec<StorePath>) -> HashSet<StorePath> {
        let asked = paths.into_iter().map(|path| async move {
            self.upstreams.having(&narinfo::name(&path)).await.is_some().then_some(path)
        });
        stream::iter(asked).buffer_unordered(64).filter_map(|path| async { path }).collect().await
    }

    /// What has no secret in it, and refers to nothing that has; and the rest.
    async fn harmless(
        self: &Arc<Self>,
        infos: Vec<PathInfo>,
    ) -> Result<(Vec<PathInfo>, Vec<Refused>), Error> {
        let looked = infos.into_iter().map(|info| {
            let of = self.clone();
            async move {
                let path = info.path.clone();
                let found = match blocking(move || of.look_through(&path)).await {
                    // It is gone, say: that is no other path's fault.
                    Err(why) if why.is_of_its_path() => Some(why.to_string()),
                    found => found?,
                };
                Ok::<_, Error>((info, found))
            }
        });
        let looked: Vec<_> = stream::iter(looked).buffered(processors()).try_collect().await?;
        let (mut fine, mut refused) = (Vec::new(), Vec::new());
        let mut bad = HashSet::new();
        for (info, found) in looked {
            let why = found.or_else(|| depends(&info, &bad));
            match why {
                None => fine.push(info),
                Some(why) => {
                    bad.insert(info.path.clone());
                    refused.push(Refused { path: info.path, why });
                }
            }
        }
        Ok((fine, refused))
    }

    fn look_through(&self, path: &StorePath) -> Result<Option<String>, Error> {
        let Some(scanner) = &self.scanner else { return Ok(None) };
        let name = || self.store.dir().display(path).to_string();
        let real = self.store.real(path).ok_or_else(|| Error::NotHere { path: name() })?;
        let found =
            scanner.scan(&real).map_err(|why| Error::Read { path: real.display().to_string(), why })?;
        Ok(found.map(|finding| finding.to_string()))
    }

    /// Roots for what nothing else here refers to, until the push has ended: no garbage collection takes it meanwhile.
    fn hold(&self, infos: &[PathInfo]) -> Result<Option<tempfile::TempDir>, Error> {
        let below: HashSet<&StorePath> = infos.iter().flat_map(PathInfo::others).collect();
        // To realise a derivation is to build it.
        let is_top = |info: &&PathInfo| !below.contains(&info.path) && !info.path.is_derivation();
        let tops = infos.iter().filter(is_top);
        let tops: Vec<String> = tops.map(|info| self.store.dir().display(&info.path).to_string()).collect();
        if tops.is_empty() {
            return Ok(None);
        }
        let failed = |why| Error::Disk { path: std::env::temp_dir(), why };
        let folder = tempfile::Builder::new().prefix("vega-builder-push-").tempdir().map_err(failed)?;
        self.store.hold(&tops, &folder.path().join("root"))?;
        Ok(Some(folder))
    }

    /// Where a path was built, beside its narinfo; not in the place of what somebody else has said.
    pub async fn put_provenance(&self, path: &StorePath, envelope: &Envelope) -> Result<(), Error> {
        let name = provenance::name(path);
        if self.place.signs() || patiently(|| self.place.has(&name)).await? {
            return Ok(());
        }
        let text = Piece::from(serde_json::to_vec(envelope).unwrap_or_default());
        patiently(|| self.place.put(&name, text.clone())).await
    }

    async fn announce(&self, info: &PathInfo, file: &File) -> Result<(), Error> {
        self.place.announce(info, file, self.store.dir(), self.key.as_ref()).await?;
        self.meter.path_done();
        Ok(())
    }
}

/// Why a path stays here, when something that it refers to does.
fn depends(info: &PathInfo, bad: &HashSet<StorePath>) -> Option<String> {
    let on = info.others().find(|path| bad.contains(path))?;
    Some(format!("it depends on {on}, which stays here"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|why| std::panic::resume_unwind(why.into_panic()))
}
