//! What is left of a job: its account, its last uploads, its runner at GitHub, its container and volumes.

use std::{path::Path, sync::Arc, time::Duration};

use super::{
    job::Job,
    keeper::{Keeper, on_this_thread},
    orders::Order,
    warmth,
};
use crate::{
    cache::queue::{MOST, Queue, State},
    chronicle::{Event, Reader},
    contract::{KEPT, Phase},
    engine::{Cli, Status, pusher_name, queue_volume, runner_volume},
    installation::Places,
    progress::printable,
    runner::{say, say_line},
    value::RunnerName,
};

/// What the last uploads get when this is told to end; else they get the time that they take.
const LAST_UPLOADS: Duration = Duration::from_secs(600);
/// More than a listener says of one job.
const LINES: u32 = 200;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(600);
/// Between two looks at builds of which none goes.
const SELDOM: Duration = Duration::from_secs(15);

/// A job that this keeper had.
pub async fn bury(keeper: &Arc<Keeper>, job: Job) {
    let settled = job.settled().await;
    if let Err(why) = settled {
        say(&format!("{}: {why:#}", job.name));
    }
    // What it said goes with it, and is kept with what the keeper says.
    let lines = if job.engine.logs_to_journal(&job.name) { 0 } else { LINES };
    for line in job.engine.last_log(&job.name, lines).lines().filter(|line| !line.trim().is_empty()) {
        say_line(&format!("{}: {}", job.name, printable(line.trim_start_matches("vega-builder: "))));
    }
    let has_ended_job = account(keeper, &job.engine, &job.name);
    if has_ended_job {
        warmth::learn(keeper, &job.engine, &job.name);
    }
    if !has_ended_job && job.is_registered {
        forget(keeper, &job.name).await;
    }
    take_down(keeper, &job.engine, &job.name).await;
}

/// One of an earlier keeper's.
pub fn take_away(keeper: &Arc<Keeper>, engine: &Cli, name: &RunnerName) {
    let (of, engine, name) = (Arc::clone(keeper), engine.clone(), name.clone());
    let taken = on_this_thread(move || async move {
        say(&format!("{name} is left over from before: its job and its uploads end, then it is removed"));
        last_job(&of, &engine, &name).await;
        if runs(&engine, &name) {
            let _ = engine.stop(&name);
        }
        if !account(&of, &engine, &name) {
            forget(&of, &name).await;
        }
        take_down(&of, &engine, &name).await;
    });
    keeper.spawn(taken);
}

fn runs(engine: &Cli, name: &RunnerName) -> bool {
    let found = engine.inspect(name.as_str());
    found.is_ok_and(|found| found.is_some_and(|it| it.status == Status::Running))
}

/// No slot is there for it, and no other job comes: the one that it has ends by itself.
async fn last_job(keeper: &Keeper, engine: &Cli, name: &RunnerName) {
    let state = Places::standard().installation(name).runner_state();
    if state.is_none_or(|state| state.phase != Phase::Busy) {
        return;
    }
    let _ = engine.signal(name, "HUP");
    loop {
        let order = keeper.orders.now();
        // What follows on the job's last step is the container's to finish.
        if order.is_over() || !runs(engine, name) {
            return;
        }
        keeper.orders.rest(order, FIRST_PAUSE).await;
    }
}

/// GitHub need not wait for a runner that will not come.
async fn forget(keeper: &Keeper, job: &RunnerName) {
    if let Err(why) = keeper.registering.forget(job).await {
        say(&format!("{job} stays on GitHub's list until the next look: {why:#}"));
    }
}

/// Copy what its PID 1 wrote of its job into the runner's own account; whether a job has ended in it.
fn account(keeper: &Keeper, engine: &Cli, name: &RunnerName) -> bool {
    let Ok(Some(place)) = engine.volume_place(&runner_volume(name)) else { return false };
    let log = Reader::at(place.join(KEPT));
    let entries = log.entries();
    let mut has_ended_job = false;
    let unfinished = log.unfinished();
    for entry in entries {
        has_ended_job |= matches!(entry.event, Event::JobEnded { .. });
        if matches!(entry.event, Event::JobStarted { .. } | Event::JobEnded { .. } | Event::Trouble { .. }) {
            keeper.chronicled(|chronicle| chronicle.copy(&entry));
        }
    }
    if let Some(end) = unfinished {
        keeper.note(end);
    }
    // Looked at again, it adds nothing.
    log.forget();
    has_ended_job
}

/// The container first, so that no job starts in it again; then the last uploads, however long they take; then the rest.
async fn take_down(keeper: &Keeper, engine: &Cli, name: &RunnerName) {
    let place = Places::standard().installation(name);
    let (mut pause, mut left) = (FIRST_PAUSE, usize::MAX);
    let mut is_removed = false;
    loop {
        let order = keeper.orders.now();
        let mut step = || -> anyhow::Result<usize> {
            if !is_removed {
                engine.remove(name.as_str())?;
                is_removed = true;
            }
            let queue = engine.volume_place(&queue_volume(name))?;
            let waiting = queue.as_ref().map_or(Ok(0), |queue| waiting(queue, name))?;
            if waiting == 0 {
                if let Some(queue) = &queue {
                    // It may have a last word for the cache.
                    engine.stop_pusher(name, LAST_UPLOADS)?;
                    engine.remove(&pusher_name(name))?;
                    keeper.chronicled(|chronicle| {
                        let _alone = chronicle.alone();
                        if let Some(said) = State::take(queue) {
                            chronicle.uploaded(said.pushed, said.bytes, said.dropped);
                        }
                    });
                }
                engine.remove_job_volumes(name)?;
                place.remove_handover()?;
                return Ok(0);
            }
            let pusher = engine.inspect(&pusher_name(name))?;
            anyhow::ensure!(pusher.is_some(), "what pushes its builds is gone, and {waiting} wait");
            if pusher.is_some_and(|it| it.status != Status::Running) {
                engine.start_pusher(name)?;
            }
            Ok(waiting)
        };
        match step() {
            Ok(0) => return,
            Ok(_) if order.is_end() => {
                // Whoever comes next goes on with them.
                let patience = if order == Order::EndNow { Duration::ZERO } else { LAST_UPLOADS };
                let _ = engine.stop_pusher(name, patience);
                let queue = engine.volume_place(&queue_volume(name)).ok().flatten();
                if queue.is_some_and(|queue| waiting(&queue, name).is_ok_and(|left| left == 0)) {
                    continue;
                }
                say(&format!("{name}: builds still wait for their upload; the next start goes on with them"));
                return;
            }
            // A cache that is away costs this host little.
            Ok(waiting) => {
                pause = if waiting < left { FIRST_PAUSE } else { (pause * 2).min(SELDOM) };
                left = waiting;
            }
            Err(why) => {
                say(&format!("{name} is not yet removed: {why:#}"));
                if order.is_end() {
                    return;
                }
                pause = (pause * 2).min(SLOWEST);
            }
        }
        keeper.orders.rest(order, pause).await;
    }
}

/// How many of its builds wait for their upload, of those that can be pushed: what its container had not described yet
/// nobody can describe any more.
fn waiting(place: &Path, name: &RunnerName) -> anyhow::Result<usize> {
    let queue = Queue::at(place, MOST);
    if !queue.is_prepared() {
        return Ok(0);
    }
    let (ready, new) = queue.described()?;
    if ready == 0 && new > 0 {
        say(&format!("{name}: {new} builds had not been described when it ended, and are not pushed"));
    }
    Ok(ready)
}
