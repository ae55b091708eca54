//! What jobs had from caches, kept for the next ones: fetched once more by a container in which no job is, into a store that
//! nobody writes to afterwards. What jobs built, or changed, is not in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use harmonia_store_core::store_path::StorePath;

use super::{
    super::steps::declared::Declared,
    job,
    keeper::{Keeper, on_this_thread},
    leftovers,
    template::{Template, given_up},
};
use crate::{
    config::JobStore,
    engine::{self, Cli, Container, Filled, MOST_NAMES},
    installation::{self, Locked},
    runner::say,
    value::RunnerName,
};

/// Fetching takes no longer at once; what is missing then, another job asks for.
const FILLING: Duration = Duration::from_secs(3300);
/// What the container takes besides, to start and to count.
const BESIDES: Duration = Duration::from_secs(600);
/// A path that no cache had may have been pushed since: by its own builder, say.
const ASKED_AGAIN: Duration = Duration::from_secs(600);
/// Another command of ours may be at work on the runner. One that ends the slots waits for us meanwhile: it is looked
/// again and again whether that is so.
const LOCK: Duration = Duration::from_secs(2);
const LONGEST_LOCK: Duration = Duration::from_secs(300);

/// The paths that are to be fetched.
#[derive(Default)]
pub struct Warmth(Mutex<Wanted>);

#[derive(Default)]
struct Wanted {
    names: BTreeSet<String>,
    /// Those that were asked for, and when.
    asked: BTreeMap<String, Instant>,
    is_filling: bool,
}

impl Warmth {
    /// Whether nobody fetches them yet.
    fn want(&self, names: impl IntoIterator<Item = String>) -> bool {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.asked.retain(|_, when| when.elapsed() < ASKED_AGAIN);
        let new: Vec<String> = names.into_iter().filter(|name| !wanted.asked.contains_key(name)).collect();
        wanted.names.extend(new);
        while wanted.names.len() > MOST_NAMES {
            wanted.names.pop_last();
        }
        !wanted.names.is_empty() && !std::mem::replace(&mut wanted.is_filling, true)
    }

    /// All that are wanted by now; nothing, and nobody fetches any more.
    fn take(&self) -> Option<Vec<String>> {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = std::mem::take(&mut wanted.names).into_iter().collect();
        if names.is_empty() {
            wanted.is_filling = false;
            return None;
        }
        if wanted.asked.len() > MOST_NAMES {
            wanted.asked.clear();
        }
        let now = Instant::now();
        wanted.asked.extend(names.iter().map(|name| (name.clone(), now)));
        Some(names)
    }
}

/// A job is over, and its store still there: what it added may be of use to the next ones.
pub fn learn(keeper: &Arc<Keeper>, engine: &Cli, job: &RunnerName) {
    if !keeper.orders.now().takes_jobs() || !keeper.is_warm() || !engine.has_layers() {
        return;
    }
    let names = match engine.added_names(job, is_of_a_cache) {
        Ok(names) => names,
        Err(why) => return say(&format!("{job}: its store cannot be looked at: {why}")),
    };
    if keeper.warmth.want(names) {
        let filler = Arc::clone(keeper);
        keeper.beside(on_this_thread(move || async move {
            while let Some(wanted) = filler.warmth.take() {
                if let Err(why) = fill(&filler, &wanted).await {
                    say(&format!("nothing is kept warm for the next jobs: {why:#}"));
                }
            }
        }));
    }
}

/// A path's name, and not that of a recipe, which the next evaluation writes anyway, of a lock, or of what proves the sandbox.
fn is_of_a_cache(name: &str) -> bool {
    let is_of_nix = [".drv", ".lock", ".chroot", ".check"].iter().any(|end| name.ends_with(end));
    let is_of_the_proof = || {
        let own = name.get(33..).unwrap_or_default();
        own == "vega-builder" || own.starts_with("sandbox-probe-")
    };
    !is_of_nix && name.parse::<StorePath>().is_ok() && !is_of_the_proof()
}

/// The right to change what there is of the runner, as soon as nobody else has it; nothing, once no job is to start any more:
/// whoever has it may wait for our end.
fn lock(keeper: &Keeper) -> anyhow::Result<Option<Locked>> {
    let until = Instant::now() + LONGEST_LOCK;
    while keeper.orders.now().takes_jobs() {
        match keeper.installation.lock_patiently(LOCK) {
            Err(installation::Error::Busy { .. }) if Instant::now() < until => {}
            Ok(_) if !keeper.orders.now().takes_jobs() => break,
            locked => return Ok(Some(locked?)),
        }
    }
    Ok(None)
}

async fn fill(keeper: &Arc<Keeper>, wanted: &[String]) -> anyhow::Result<()> {
    let Some(locked) = lock(keeper)? else { return Ok(()) };
    let template = Template::under(locked).await?;
    // Without room it is for a job to say what is to go.
    let wants_it = template.settings.nix.store == JobStore::Warm && template.has_room();
    let Some(below) = template.base.clone().filter(|_| wants_it) else { return Ok(()) };
    let (container, place) = template.for_slot(0)?;
    let engine = template.engine.letting_go();
    let made = template.make_store(&container);
    // Jobs go on beginning meanwhile.
    drop(template);
    let filling = Filling { keeper, engine, container, below };
    let fetched = match made {
        Ok(()) => filling.fetch(wanted).await,
        Err(why) => Err(why),
    };
    let Filling { engine, container, .. } = filling;
    if job::remove(&engine, &container.name, &place).is_err() {
        leftovers::take_away(keeper, &engine, &container.name);
    }
    fetched
}

/// A container that fetches, and the base on which its store rests.
struct Filling<'a> {
    keeper: &'a Keeper,
    engine: Cli,
    container: Container,
    below: String,
}

impl Filling<'_> {
    /// What it gets into its store is put into the next base.
    async fn fetch(&self, wanted: &[String]) -> anyhow::Result<()> {
        let got = tokio::select! {
            got = self.engine.fill(&self.container, wanted, FILLING) => got?,
            () = told_otherwise(self.keeper) => return Ok(()),
            () = tokio::time::sleep(FILLING + BESIDES) => anyhow::bail!("it does not end"),
        };
        let Some(base) = self.alone(|engine| engine.next_base(&self.container))? else { return Ok(()) };
        let grown = self.grow(&base, &got);
        if !matches!(grown, Ok(true)) {
            self.engine.remove_volume(&base)?;
        }
        grown.map(drop)
    }

    /// Whether jobs begin with the base from now on.
    fn grow(&self, base: &str, got: &Filled) -> anyhow::Result<bool> {
        let added = self.engine.grow_base(base, &self.below, &self.container, &got.fetched)?;
        if added > 0 {
            let is_complete = self.alone(|engine| engine.complete_base(base, &self.container))?.is_some();
            if is_complete {
                say(&format!("{added} paths that jobs had from caches are there for the next ones: {base}"));
            }
            return Ok(is_complete);
        }
        if let Some(why) = &got.full
            && self.alone(|engine| engine.cool_bases(&self.container))? == Some(true)
        {
            say(&given_up(why));
        }
        Ok(false)
    }

    /// With nobody else at work on the runner; nothing, when jobs do not begin with the base below any more, or none is to.
    fn alone<T>(&self, change: impl FnOnce(&Cli) -> Result<T, engine::Error>) -> anyhow::Result<Option<T>> {
        let Some(locked) = lock(self.keeper)? else { return Ok(None) };
        let is_warm = Declared::read(&locked)?.settings.nix.store == JobStore::Warm;
        let engine = self.engine.holding(locked.right()?);
        if !is_warm || engine.warmest_base(&self.container)? != self.below {
            return Ok(None);
        }
        Ok(Some(change(&engine)?))
    }
}

/// Until no job is to start any more.
async fn told_otherwise(keeper: &Keeper) {
    loop {
        let order = keeper.orders.now();
        if !order.takes_jobs() {
            return;
        }
        keeper.orders.rest(order, FILLING).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_NAMES, Warmth, is_of_a_cache};

    #[test]
    fn what_was_asked_for_is_not_asked_for_again_and_one_fetches_for_all() {
        let warmth = Warmth::default();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(!warmth.want([]));
        assert!(warmth.want(names(&["b", "a"])));
        assert!(!warmth.want(names(&["c"])));
        assert_eq!(warmth.take(), Some(names(&["a", "b", "c"])));
        assert!(!warmth.want(names(&["a", "d"])));
        assert_eq!(warmth.take(), Some(names(&["d"])));
        assert_eq!(warmth.take(), None);
        assert!(!warmth.want(names(&["a", "d"])));
        assert!(warmth.want(names(&["e"])));
    }

    #[test]
    fn a_job_that_names_more_than_there_are_is_heard_to_the_bound() {
        let warmth = Warmth::default();
        assert!(warmth.want((0..MOST_NAMES * 2).map(|number| number.to_string())));
        assert_eq!(warmth.take().map(|names| names.len()), Some(MOST_NAMES));
    }

    #[test]
    fn names_that_are_no_store_paths_are_not_asked_for() {
        let hash = "0c4r0hirlbn4r45s1bv8q5mkg4rb7xhl";
        assert!(is_of_a_cache(&format!("{hash}-hello-2.12")));
        for name in [
            "vega-builder",
            "sandbox-probe-1764244800",
            "hello.drv",
            "hello.lock",
            "hello\n--delete",
            "../../etc",
            "",
        ] {
            assert!(!is_of_a_cache(&format!("{hash}-{name}")), "{name}");
            assert!(!is_of_a_cache(name), "{name}");
        }
    }
}
