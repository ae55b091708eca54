//! One slot: a container after the other, the next one booted while the last one works.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use super::{
    job::Job,
    keeper::{Keeper, on_this_thread},
    orders::Orders,
};
use crate::{chronicle::Event, contract::Phase, runner::say};

/// How often a job's container is looked at that says nothing.
const LOOK: Duration = Duration::from_millis(500);
/// What a boot takes at most, with a store to check and a build to prove the sandbox by.
const BOOT: Duration = Duration::from_secs(300);
/// Between two tries that fail, ever longer.
const FIRST: Duration = Duration::from_secs(2);
const SLOWEST: Duration = Duration::from_secs(300);

type Coming = JoinHandle<anyhow::Result<Job>>;

/// Keep a slot until it is told to end; `job` is what an earlier keeper left running in it.
pub async fn keep(keeper: Arc<Keeper>, number: u32, job: Option<Job>) {
    let mut slot = Slot { keeper, number, next: None };
    let mut pause = FIRST;
    if let Some(job) = job {
        slot.work(job);
    }
    let failed = |slot: &Slot, why: String, pause: Duration| {
        let why = format!("{why}; next try in {} s", pause.as_secs());
        say(&format!("slot {number}: {why}"));
        slot.tell(Phase::Starting, &why);
        slot.keeper.note(Event::Trouble { why });
    };
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
        match slot.listening().await {
            Ok(Some(job)) => {
                let name = job.name.clone();
                if slot.work(job) {
                    pause = FIRST;
                    continue;
                }
                failed(&slot, format!("{name} ended without a job"), pause);
                slot.keeper.orders.rest(order, pause).await;
                pause = (pause * 2).min(SLOWEST);
            }
            // Told otherwise meanwhile.
            Ok(None) => {}
            Err(why) => {
                failed(&slot, format!("{why:#}"), pause);
                slot.keeper.orders.rest(order, pause).await;
                pause = (pause * 2).min(SLOWEST);
            }
        }
    }
    slot.empty().await;
    slot.tell(Phase::Stopping, "");
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

    /// From a runner that begins to listen to its end; whether it had a job, or was told to have none.
    fn work(&mut self, mut job: Job) -> bool {
        let (mut had_job, mut told, mut asked) = (false, String::new(), false);
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
            // It says so with no process of its job left.
            if phase == Phase::Stopping || !job.is_alive() {
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
        self.keeper.bury(job);
        as_expected
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
            Some(Phase::Stopping) => anyhow::bail!("{} does not boot: {message}", job.name),
            _ if !job.is_alive() => anyhow::bail!("{} ended as it booted", job.name),
            _ => {}
        }
        anyhow::ensure!(!orders.now().is_end(), "{} is told to end", job.name);
        anyhow::ensure!(Instant::now() < until, "{} has not booted after {} s", job.name, BOOT.as_secs());
        job.changed(LOOK);
    }
}
