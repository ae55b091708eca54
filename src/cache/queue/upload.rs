//! The pusher: build after build to the cache, as long as there are any, and again when the cache was away.

use std::{io, sync::Arc, time::Duration};

use harmonia_store_core::store_path::StorePath;
use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Entry, Queue, State, take::Batch};
use crate::{
    cache::{Error, PathInfo, provenance, push::Push},
    value::Origins,
};

/// How often an empty queue is looked at.
const TICK: Duration = Duration::from_millis(250);
/// Between two tries at a cache that takes nothing: from, and up to.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

/// When it is told to end: how long a cache that takes nothing is tried, and builds that are not described are waited for.
const AWAY: Duration = Duration::from_secs(60);
const UNDESCRIBED: Duration = Duration::from_secs(5);

/// Push what is queued, until `ending` says so and nothing is left.
pub async fn upload(
    queue: &Queue,
    push: &Arc<Push>,
    origins: &Origins,
    mut ending: watch::Receiver<bool>,
    say: impl Fn(&str),
) -> io::Result<()> {
    let mut state = queue.state();
    let (mut pause, mut end) = (PAUSES[0], None);
    loop {
        state.waiting = queue.waiting()?;
        let taken = queue.take(push.store.dir()).map_err(|why| disk(queue, why));
        let told = *ending.borrow();
        let since = told.then(|| *end.get_or_insert_with(Instant::now)).map(|end| end.elapsed());
        let Some(batch) = taken.transpose() else {
            // What nobody describes any more stays.
            if since.is_some_and(|since| state.waiting == 0 || since > UNDESCRIBED) {
                return tell(queue, &mut state);
            }
            if state.waiting == 0 {
                queue.tidy()?;
            }
            tell(queue, &mut state)?;
            sleep(TICK).await;
            continue;
        };
        tell(queue, &mut state)?;
        let sent = match batch {
            Ok(batch) => send(queue, push, origins, batch, &mut state, &say).await,
            Err(why) => Err(why),
        };
        match sent {
            Ok(()) => {
                pause = PAUSES[0];
                state.error.clear();
            }
            Err(why) => {
                let why = why.to_string();
                if state.error != why {
                    say(&format!("nothing is lost, and it is tried again: {why}"));
                }
                state.error = why;
                tell(queue, &mut state)?;
                match since {
                    Some(since) if since > AWAY => return Ok(()),
                    Some(_) => sleep(PAUSES[0]).await,
                    None => {
                        tokio::select! {
                            () = sleep(pause) => {}
                            _ = ending.changed() => {}
                        }
                    }
                }
                pause = (pause * 2).min(PAUSES[1]);
            }
        }
    }
}

async fn send(
    queue: &Queue,
    push: &Arc<Push>,
    origins: &Origins,
    batch: Batch,
    state: &mut State,
    say: &impl Fn(&str),
) -> Result<(), Error> {
    let before = push.meter.bytes_sent();
    let outputs = outputs(&batch, push);
    let outcome = push.run_described(batch.infos).await?;
    state.pushed += outcome.pushed.len() as u64;
    state.bytes += push.meter.bytes_sent() - before;
    let stays = |path: &StorePath| outcome.refused.iter().any(|refused| refused.path == *path);
    for ((_, entry), infos) in batch.builds.iter().zip(&outputs) {
        let infos: Vec<&PathInfo> = infos.iter().filter(|info| !stays(&info.path)).collect();
        let statement = provenance::statement(entry, &infos, origins.at(entry.ended), push.store.dir());
        let envelope = provenance::signed(&statement, push.key.as_ref());
        for info in infos {
            queue.keep_provenance(&info.path, &envelope).map_err(|why| disk(queue, why))?;
            push.put_provenance(&info.path, &envelope).await?;
        }
    }
    for refused in outcome.refused {
        say(&format!("{} stays here: {}", refused.path, refused.why));
        state.refuse(refused.path.to_string(), refused.why);
    }
    for (_, entry) in &batch.builds {
        say(&format!("{} is done with", entry.drv));
    }
    queue.done(&batch.builds).map_err(|why| disk(queue, why))
}

/// What is known of each build's outputs.
fn outputs(batch: &Batch, push: &Push) -> Vec<Vec<PathInfo>> {
    let is_of = |entry: &Entry, info: &PathInfo| {
        let name = push.store.dir().display(&info.path).to_string();
        entry.outputs.contains(&name)
    };
    let of = |(_, entry): &(String, Entry)| {
        batch.infos.iter().filter(|info| is_of(entry, info)).cloned().collect()
    };
    batch.builds.iter().map(of).collect()
}

fn disk(queue: &Queue, why: io::Error) -> Error {
    Error::Disk { path: queue.root.clone(), why }
}

/// What is the same as before is not written again.
fn tell(queue: &Queue, state: &mut State) -> io::Result<()> {
    state.dropped = queue.dropped();
    let told = queue.state();
    let same = State { since: told.since, ..state.clone() } == told;
    if same {
        return Ok(());
    }
    state.since = Timestamp::now();
    queue.tell(state)
}
