//! The slots together: what was left by an earlier keeper, the orders, and the burials.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinSet};

use super::{
    super::steps::{declared::Declared, metadata},
    board::{Board, Drain},
    credential,
    job::Job,
    leftovers,
    orders::{Order, Orders},
    registering::Registering,
    slot,
    warmth::Warmth,
};
use crate::{
    chronicle::{Chronicle, Event},
    config::JobStore,
    contract::KEPT,
    engine::{Cli, runner_volume},
    installation::Installation,
    runner::say,
};

/// What waits for an engine has a thread of its own; what it asks of GitHub goes through the one runtime.
pub fn on_this_thread<F: Future>(work: impl FnOnce() -> F) -> impl FnOnce() -> F::Output {
    let runtime = Handle::current();
    move || runtime.block_on(work())
}

/// What all slots share.
pub struct Keeper {
    pub installation: Installation,
    pub orders: Orders,
    pub board: Board,
    pub registering: Registering,
    pub warmth: Warmth,
    slots: AtomicU32,
    burials: Mutex<JoinSet<()>>,
    chronicle: Mutex<Option<Chronicle>>,
}

/// Between two looks for what is left over at GitHub.
const SWEEP: Duration = Duration::from_secs(3600);

impl Keeper {
    pub fn new(installation: Installation) -> Arc<Self> {
        Arc::new(Self {
            orders: Orders::new(),
            board: Board::new(installation.clone()),
            registering: Registering::new(installation.clone()),
            warmth: Warmth::default(),
            slots: AtomicU32::new(0),
            burials: Mutex::default(),
            chronicle: Mutex::default(),
            installation,
        })
    }

    /// Until it is told to end, and everything has.
    pub async fn run(self: Arc<Self>) -> anyhow::Result<()> {
        let declared = Declared::read(&self.installation)?;
        let (settings, engine) = (&declared.settings, declared.engine()?);
        let (slots, patience) = (settings.ephemeral.map_or(1, u32::from), settings.patience.0);
        self.installation.make_handover(None)?;
        for (_, job) in engine.jobs(&self.installation.name)? {
            metadata::hold_swap(job.pid);
        }
        metadata::deny(&self.installation.name);
        self.open_chronicle(engine)?;
        if engine.has_layers() {
            engine.forget_unfinished_bases(&self.installation.name)?;
        }
        let mut adopted = self.take_over(engine, slots)?;
        say(&format!("{slots} slots for {}, each under {}", settings.scope, settings.caps));
        if settings.nix.store == JobStore::Warm && !engine.has_layers() {
            say(
                "nix.store is warm, and stores are laid over one another by root alone: jobs begin with the image's own paths",
            );
        }
        tokio::select! {
            () = async {
                self.keep_slots(slots, &mut adopted).await;
                self.finish().await;
            } => {}
            told = self.orders.listen(&self.installation, patience) => told?,
            () = self.sweep_now_and_then() => {}
            () = credential::watch(&self) => {}
            () = self.tell_drains() => {}
        }
        self.note(Event::Stopped { why: "told to stop".to_owned() });
        self.installation.forget_state();
        Ok(())
    }

    /// As many slots as are declared, until all have ended.
    async fn keep_slots(self: &Arc<Self>, slots: u32, adopted: &mut BTreeMap<u32, Job>) {
        let (mut tasks, mut reading) = (JoinSet::new(), self.orders.reading());
        let mut kept = BTreeSet::new();
        self.slots.store(slots, Ordering::Relaxed);
        loop {
            for number in 1..=self.slots() {
                // One that was told to end while it still worked may be there.
                if kept.insert(number) {
                    let (keeper, job) = (Arc::clone(self), adopted.remove(&number));
                    let keep = on_this_thread(move || slot::keep(keeper, number, job));
                    tasks.spawn_blocking(move || {
                        keep();
                        number
                    });
                }
            }
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    None => return,
                    Some(number) => {
                        drop(number.map(|number| kept.remove(&number)));
                        self.board.resize(self.slots());
                    }
                },
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
            if self.orders.now().is_end() {
                while tasks.join_next().await.is_some() {}
                return;
            }
            if self.orders.reading() != reading {
                reading = self.orders.reading();
                match Declared::read(&self.installation) {
                    Ok(declared) => {
                        let slots = declared.settings.ephemeral.map_or(0, u32::from);
                        self.board.resize(slots);
                        self.slots.store(slots, Ordering::Relaxed);
                    }
                    Err(why) => say(&format!("the declaration is not used: {why:#}")),
                }
            }
        }
    }

    /// How many slots there are to be.
    pub fn slots(&self) -> u32 {
        self.slots.load(Ordering::Relaxed)
    }

    /// What is here of an earlier keeper's: a job that runs goes on in its slot, and the rest is buried.
    fn take_over(self: &Arc<Self>, engine: &Cli, slots: u32) -> anyhow::Result<BTreeMap<u32, Job>> {
        let mut adopted = BTreeMap::new();
        let jobs = engine.jobs(&self.installation.name)?;
        for (name, found) in &jobs {
            let number = &found.slot.unwrap_or_default();
            let is_free = (1..=slots).contains(number) && !adopted.contains_key(number);
            let job = if is_free { Job::adopt(engine, name, found, self.orders.reading()) } else { None };
            if let Some(job) = job {
                say(&format!("{name} goes on in slot {number}"));
                adopted.insert(*number, job);
            } else {
                leftovers::take_away(self, engine, name);
            }
        }
        // Uploads of jobs whose container is gone already.
        for name in engine.jobs_with_volumes(&self.installation.name)? {
            if !jobs.iter().any(|(job, _)| *job == name) {
                leftovers::take_away(self, engine, &name);
            }
        }
        Ok(adopted)
    }

    /// A job is over: account for it, push its last builds, and take it away, beside whatever else goes on.
    pub fn bury(self: &Arc<Self>, job: Job) {
        let keeper = Arc::clone(self);
        self.board.burial();
        let burial = on_this_thread(move || async move {
            leftovers::bury(&keeper, job).await;
            keeper.board.buried();
        });
        if let Ok(mut burials) = self.burials.lock() {
            burials.spawn_blocking(burial);
            // Those that are over are not kept.
            while burials.try_join_next().is_some() {}
        }
    }

    /// What is no job's, and over before this ends.
    pub fn beside(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        if let Ok(mut burials) = self.burials.lock() {
            burials.spawn_blocking(work);
        }
    }

    /// Whether jobs' stores are to begin with what earlier ones had from caches.
    pub fn is_warm(&self) -> bool {
        Declared::read(&self.installation).is_ok_and(|declared| declared.settings.nix.store == JobStore::Warm)
    }

    /// The same for anything that must be over before this ends.
    pub fn spawn(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        let keeper = Arc::clone(self);
        self.board.burial();
        if let Ok(mut burials) = self.burials.lock() {
            burials.spawn_blocking(move || {
                work();
                keeper.board.buried();
            });
        }
    }

    async fn finish(&self) {
        loop {
            let burials = self.burials.lock().map(|mut burials| std::mem::take(&mut *burials));
            match burials {
                Ok(burials) if !burials.is_empty() => drop(burials.join_all().await),
                _ => return,
            }
        }
    }

    async fn sweep_now_and_then(&self) {
        loop {
            if let Err(why) = self.registering.sweep().await {
                say(&format!("what is left over at GitHub could not be looked at: {why:#}"));
            }
            tokio::time::sleep(SWEEP).await;
        }
    }

    /// A drain is written down once, and shown.
    async fn tell_drains(&self) {
        let mut was = None;
        loop {
            let is = match self.orders.now() {
                Order::Drain { leased } => Some(Drain { leased }),
                _ => None,
            };
            if is.is_some() && was.is_none() {
                self.note(Event::Drained);
            }
            if is != was {
                self.board.drained(is);
                was = is;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The runner's own account, which outlives its jobs.
    fn open_chronicle(&self, engine: &Cli) -> anyhow::Result<()> {
        let volume = runner_volume(&self.installation.name);
        engine.make_volume(&volume, &self.installation.name)?;
        let Some(place) = engine.volume_place(&volume)? else { return Ok(()) };
        let folder = place.join(KEPT);
        std::fs::create_dir_all(&folder)?;
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        if let Ok(mut chronicle) = self.chronicle.lock() {
            *chronicle = Some(Chronicle::at(folder));
        }
        self.note(Event::Started { version: env!("CARGO_PKG_VERSION").to_owned() });
        Ok(())
    }

    pub fn note(&self, event: Event) {
        self.chronicled(|chronicle| chronicle.note(event));
    }

    pub fn chronicled(&self, write: impl FnOnce(&Chronicle)) {
        if let Ok(chronicle) = self.chronicle.lock()
            && let Some(chronicle) = &*chronicle
        {
            write(chronicle);
        }
    }
}
