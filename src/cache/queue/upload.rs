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

/// How often somebody who looks sees another figure.
const TOLD: Duration = Duration::from_secs(1);
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
            Ok(batch) => {
                let shown = state.clone();
                let sent = send(queue, push, origins, batch, &mut state, &say);
                told_meanwhile(sent, queue, push, shown).await
            }
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

/// A push, and every second how far it is.
async fn told_meanwhile(
    sent: impl Future<Output = Result<(), Error>>,
    queue: &Queue,
    push: &Push,
    mut shown: State,
) -> Result<(), Error> {
    let (before, mut ticks) = (push.meter.bytes_sent(), tokio::time::interval(TOLD));
    tokio::pin!(sent);
    loop {
        tokio::select! {
            sent = &mut sent => return sent,
            _ = ticks.tick() => {
                shown.sending = Some(push.meter.bytes_sent() - before);
                // A disk that is full of something else holds no upload up.
                let _ = tell(queue, &mut shown);
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
        let envelope = provenance::signed(&statement, push.provenance_key.as_ref());
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

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs, io::Read as _, os::unix::ffi::OsStrExt as _, path::Path, sync::Arc};

    use jiff::Timestamp;
    use sha2::{Digest as _, Sha256};
    use tokio::sync::watch;

    use super::{super::READY, Entry, Queue, State, upload};
    use crate::{
        cache::{
            Store, compression::Compression, meter::Meter, place::Place, push::Push, secrets::Scanner,
            upstream::Upstreams,
        },
        value::{BuildOrigin, ByteSize, Caps, Origins},
    };

    const HERE: &str = "00000000000000000000000000000000-here";
    const STRANGE: &str = "22222222222222222222222222222222-strange";
    const GONE: &str = "11111111111111111111111111111111-gone";

    /// A build of one path, as the hook and the describer leave it.
    fn queued(queue: &Queue, path: &str, file: &Path) {
        let mut nar = Vec::new();
        nix_nar::Encoder::new(file).unwrap().read_to_end(&mut nar).unwrap();
        let entry = Entry {
            drv: format!("/nix/store/{path}.drv"),
            outputs: vec![format!("/nix/store/{path}")],
            ended: Timestamp::UNIX_EPOCH,
            sandbox: true,
            job: None,
        };
        let hash = format!("sha256:{}", hex::encode(Sha256::digest(&nar)));
        let info = serde_json::json!({ "path": entry.outputs[0], "narHash": hash, "narSize": nar.len(), "references": [] });
        queue.write("paths", &path[..32], &info).unwrap();
        queue.write(READY, path, &entry).unwrap();
    }

    fn origins() -> Origins {
        let caps = Caps { memory: ByteSize::gib(1), cpus: "1".parse().unwrap(), pids: 64 };
        Origins::new(BuildOrigin { runner: String::new(), scope: String::new(), image: None, caps })
    }

    #[tokio::test]
    async fn a_path_that_a_power_cut_took_and_a_hostile_builds_names_in_no_encoding_hold_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let [store, cache, root] = ["store", "cache", "queue"].map(|name| folder.path().join(name));
        fs::create_dir_all(&store).unwrap();
        let queue = Queue::at(&root, 9);
        fs::create_dir(&root).unwrap();
        queue.prepare().unwrap();
        for path in [HERE, GONE] {
            fs::write(store.join(path), path).unwrap();
            queued(&queue, path, &store.join(path));
        }
        fs::remove_file(store.join(GONE)).unwrap();
        // Whatever says that its content is another: Nix, which is not on every host, or its hash.
        queued(&queue, STRANGE, &store.join(HERE));
        fs::create_dir(store.join(STRANGE)).unwrap();
        fs::write(store.join(STRANGE).join(OsStr::from_bytes(b"\xff")), "x").unwrap();
        let push = Push {
            store: Store::files(store),
            place: Place::at(cache.to_str().unwrap(), None).unwrap(),
            upstreams: Upstreams::new(&[]).unwrap(),
            scanner: Some(Scanner::new(Vec::new())),
            key: None,
            provenance_key: None,
            compression: Compression::None,
            meter: Arc::new(Meter::default()),
        };
        let (end, ending) = watch::channel(false);
        end.send(true).unwrap();
        upload(&queue, &Arc::new(push), &origins(), ending, |_| {}).await.unwrap();
        assert!(cache.join(format!("{}.narinfo", &HERE[..32])).exists());
        let said = State::read(&root).unwrap();
        assert_eq!((said.pushed, said.waiting, said.refused.len()), (1, 0, 2), "{said:?}");
        let gone = said.refused.iter().find(|(path, _)| path == GONE).unwrap();
        assert!(gone.1.contains("No such file"), "{said:?}");
        assert_eq!(queue.waiting().unwrap(), 0);
    }
}
