//! One slot: a container after the other, the next one booted while the last one works.

use std::{fs, sync::Arc, time::Duration};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use super::{
    job::Job,
    keeper::{Keeper, on_this_thread},
    orders::Orders,
    template::NoRoom,
};
use crate::{
    chronicle::Event,
    contract::{self, Phase},
    exit, github,
    runner::{
        pace::{Next, Pace, Pause},
        say,
    },
};

/// How often a job's container is looked at that says nothing.
const LOOK: Duration = Duration::from_millis(500);
/// What a boot takes at most, with a store to check and a build to prove the sandbox by.
const BOOT: Duration = Duration::from_secs(300);
type Coming = JoinHandle<anyhow::Result<Job>>;

/// Keep a slot until it is told to end; `job` is what an earlier keeper left running in it.
pub async fn keep(keeper: Arc<Keeper>, number: u32, job: Option<Job>) {
    let mut slot = Slot { keeper, number, next: None };
    let mut pace = Pace::default();
    if let Some(job) = job {
        slot.work(job);
    }
    loop {
        let order = slot.keeper.orders.now();
        if order.is_end() || number > slot.keeper.slots() {
            break;
        }
        if !order.takes_jobs() {
            slot.empty().await;
            slot.tell(Phase::Drained, "");
            slot.keeper.orders.rest(order, Duration::from_secs(3600)).await;
            continue;
        }
        let began = std::time::Instant::now();
        let failed = match slot.listening().await {
            Ok(Some(job)) => slot.work(job).map(|why| (began, why, GROWING)),
            // Told otherwise meanwhile.
            Ok(None) => continue,
            // However long it took, it was no life.
            Err(why) => Some((std::time::Instant::now(), format!("{why:#}"), pause_after(&why))),
        };
        match failed {
            None => pace.reset(),
            Some((began, why, pause)) => slot.pause(&mut pace, began, pause, why).await,
        }
    }
    slot.empty().await;
    slot.tell(Phase::Stopping, "");
}

const GROWING: Pause = Pause::Growing(Duration::ZERO);
/// Between two looks at a full disk.
const ROOM_AGAIN: Duration = Duration::from_secs(60);
/// Whether somebody wants another try of what was given up.
const ASK: Duration = Duration::from_secs(1);

/// What a registry or GitHub does not answer today passes; what they refuse may not.
fn pause_after(why: &anyhow::Error) -> Pause {
    if why.downcast_ref::<NoRoom>().is_some() {
        return Pause::Steady(ROOM_AGAIN);
    }
    let is_away =
        why.chain().filter_map(|cause| cause.downcast_ref::<github::Error>()).any(github::Error::passes);
    if is_away || exit::kind(why) == exit::Kind::Registry { Pause::Patient(Duration::ZERO) } else { GROWING }
}

struct Slot {
    keeper: Arc<Keeper>,
    number: u32,
    /// The container that boots, or waits for its turn.
    next: Option<Coming>,
}

impl Slot {
    fn tell(&self, phase: Phase, message: &str) {
        self.keeper.board.tell(self.number, phase, message);
    }

    /// After a failure: told once, and tried again, ever more slowly, or given up until somebody says otherwise.
    async fn pause(&self, pace: &mut Pace, began: std::time::Instant, pause: Pause, why: String) {
        let (orders, number) = (&self.keeper.orders, self.number);
        let known = orders.known();
        match pace.after(began, pause) {
            Next::Wait(wait) => {
                let shown = format!("{why}; next try in {} s", wait.as_secs());
                self.tell(Phase::Starting, &shown);
                if pace.is_news(&why) {
                    say(&format!("slot {number}: {shown}"));
                    self.keeper.note(Event::Trouble { why: format!("slot {number}: {why}") });
                }
                let until = Instant::now() + wait;
                while orders.known() == known && Instant::now() < until {
                    orders.rest_between(known, ASK.min(until - Instant::now())).await;
                }
            }
            Next::GiveUp => {
                let why = format!("{why}; it tries no more: `vega-builder resume` has it try again");
                self.tell(Phase::GaveUp, &why);
                say(&format!("slot {number}: {why}"));
                self.keeper.note(Event::GaveUp { why: format!("slot {number}: {why}") });
                let note = self.keeper.installation.handover.join(contract::HANDOVER_GAVE_UP);
                let is_noted = fs::write(&note, "").is_ok();
                while orders.known() == known && (!is_noted || note.exists()) {
                    orders.rest_between(known, ASK).await;
                }
                let _ = fs::remove_file(&note);
                pace.reset();
            }
        }
    }

    /// Have the next container boot.
    fn boot(&mut self) {
        let (keeper, number) = (Arc::clone(&self.keeper), self.number);
        self.next.get_or_insert_with(|| {
            spawn_blocking(on_this_thread(move || async move {
                let reading = keeper.orders.reading();
                let mut job = Job::begin(&keeper.installation, number, reading).await?;
                match warm(&mut job, &keeper.orders) {
                    Ok(()) => Ok(job),
                    Err(why) => {
                        let said = job.engine.last_log(&job.name, 1);
                        job.let_end();
                        keeper.bury(job);
                        Err(why.context(said))
                    }
                }
            }))
        });
    }

    /// Nothing waits for its turn any more.
    async fn empty(&mut self) {
        if let Some(coming) = self.next.take()
            && let Ok(Ok(job)) = coming.await
        {
            job.let_end();
            self.keeper.bury(job);
        }
    }

    /// A container that GitHub has as a runner; nothing, when there is an order against it.
    async fn listening(&mut self) -> anyhow::Result<Option<Job>> {
        self.boot();
        let Some(coming) = self.next.take() else { return Ok(None) };
        let mut job = coming.await??;
        let is_fit = job.reading == self.keeper.orders.reading() && job.is_alive();
        if !is_fit || !self.keeper.orders.now().takes_jobs() {
            job.let_end();
            self.keeper.bury(job);
            return Ok(None);
        }
        if let Err(why) = self.keeper.registering.register(&mut job).await {
            // It boots no quicker for being thrown away: it waits for the next try.
            self.next = Some(tokio::spawn(async move { Ok(job) }));
            return Err(why);
        }
        Ok(Some(job))
    }

    /// From a runner that begins to listen to its end; why it had no job, unless it was told to have none.
    fn work(&mut self, mut job: Job) -> Option<String> {
        let (mut had_job, mut told, mut asked) = (false, String::new(), false);
        let mut last = String::new();
        loop {
            let state = job.state();
            let phase = state.as_ref().map_or(Phase::Starting, |state| state.phase);
            let message = state.map(|state| state.message).unwrap_or_default();
            if phase == Phase::Busy {
                had_job = true;
                // While this one works, the next one boots.
                if self.keeper.orders.now().takes_jobs() && self.number <= self.keeper.slots() {
                    self.boot();
                }
            }
            let shown = if phase == Phase::Warm { Phase::Starting } else { phase };
            if told != format!("{shown:?}{message}") {
                told = format!("{shown:?}{message}");
                self.tell(shown, &message);
            }
            if !message.is_empty() && matches!(phase, Phase::Stopping | Phase::GaveUp) {
                last = message;
            }
            // It says so with no process of its job left.
            if matches!(phase, Phase::Stopping | Phase::GaveUp) || !job.is_alive() {
                break;
            }
            let order = self.keeper.orders.now();
            let is_surplus = self.number > self.keeper.slots();
            let is_stale = job.reading != self.keeper.orders.reading();
            if !asked && (!order.takes_jobs() || is_surplus || is_stale && !had_job) {
                job.let_end();
                asked = true;
            }
            if order.is_over() {
                if let Err(why) = job.end_now() {
                    say(&format!("{}: {why:#}", job.name));
                }
                break;
            }
            job.changed(LOOK);
        }
        // A job may be shorter than a look.
        let as_expected = had_job || asked || self.keeper.orders.now().is_end() || job.has_had_job();
        // The name is another one each time, and no news.
        let why = if last.is_empty() {
            "a container ended without a job".to_owned()
        } else {
            format!("a container ended without a job: {last}")
        };
        self.keeper.bury(job);
        (!as_expected).then_some(why)
    }
}

/// Until a container has booted, or says why it cannot.
fn warm(job: &mut Job, orders: &Orders) -> anyhow::Result<()> {
    let until = Instant::now() + BOOT;
    loop {
        let state = job.state();
        let message = state.as_ref().map(|state| state.message.clone()).unwrap_or_default();
        match state.map(|state| state.phase) {
            Some(Phase::Warm) => return Ok(()),
            Some(Phase::Stopping) => anyhow::bail!("a container does not boot: {message}"),
            _ if !job.is_alive() => anyhow::bail!("a container ended as it booted"),
            _ => {}
        }
        anyhow::ensure!(!orders.now().is_end(), "told to end");
        anyhow::ensure!(Instant::now() < until, "a container has not booted after {} s", BOOT.as_secs());
        job.changed(LOOK);
    }
}
