//! `pusher`: beside a runner, outside of its container: it has the credential that no job may have.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};

use crate::{
    cache::{
        Store,
        queue::{MOST, Queue, upload::upload},
    },
    commands::steps::caching::Caching,
    config::PusherSettings,
    runner::say,
};

/// Push the builds of a runner to its cache, as they come
///
/// `up` starts it in a container of the runner's own verified image, `install` and NixOS as a service of the host: the
/// store is there for reading alone. Told to end, it ends when nothing is left to push. When its settings change, or the
/// store is made anew, it ends to be started with what is now.
#[derive(Debug, clap::Args)]
pub struct Pusher {
    /// Where the store's paths are seen
    #[arg(long, value_name = "FOLDER")]
    store: PathBuf,
    /// The queue's folder
    #[arg(long, value_name = "FOLDER")]
    queue: PathBuf,
    /// What is pushed where, as `up` or `prepare` wrote it down
    #[arg(long, value_name = "FILE")]
    settings: PathBuf,
    /// The key that signs it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What the cache is logged in with
    #[arg(long, value_name = "FILE")]
    login: Option<PathBuf>,
}

/// How often it is looked whether that what a pusher rests on is still what it was.
const LOOK: Duration = Duration::from_secs(1);
/// How long a folder that should be there is waited for.
const UNSEEN: Duration = Duration::from_secs(5);

impl Pusher {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let ground = Ground::of(&self);
        let (end, ending) = watch::channel(false);
        let (mut told, mut interrupted) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        if !ground.is_whole() {
            say("waiting for the runner's first start");
            tokio::select! {
                () = ground.changed() => {}
                // What was not there when a service began comes into its sight with the next one.
                () = sleep(UNSEEN), if ground.text.is_some() => {}
                _ = told.recv() => {}
                _ = interrupted.recv() => {}
            }
            return Ok(ExitCode::SUCCESS);
        }
        let PusherSettings { mut cache, origins } = PusherSettings::read(&self.settings)?;
        (cache.key_file, cache.login_file) = (self.key, self.login);
        let push = Arc::new(Caching::push(&cache, Store::files(self.store))?);
        let queue = Queue::at(self.queue, MOST);
        tokio::spawn(async move {
            told.recv().await;
            say("told to end: the uploads that wait come first");
            let _ = end.send(true);
        });
        say(&format!("pushing to {}", push.place.shown));
        let work = async {
            // The runner makes it at its boot; it has the right to.
            while !queue.is_prepared() {
                if *ending.borrow() {
                    return Ok(());
                }
                sleep(Duration::from_millis(250)).await;
            }
            upload(&queue, &push, &origins, ending, say).await
        };
        tokio::select! {
            ended = work => ended.context("the queue")?,
            // The next one goes on from here.
            () = ground.changed() => {
                say("its settings or its store are others now: starting anew");
                push.place.commit().await?;
            }
            _ = interrupted.recv() => push.place.commit().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What a pusher rests on: its settings, and the folders of two volumes.
struct Ground {
    settings: PathBuf,
    text: Option<Vec<u8>>,
    folders: [PathBuf; 2],
}

impl Ground {
    fn of(pusher: &Pusher) -> Self {
        Self {
            settings: pusher.settings.clone(),
            text: fs::read(&pusher.settings).ok(),
            folders: [pusher.store.clone(), pusher.queue.clone()],
        }
    }

    /// One that is removed has no link left, and is seen on through the mount that holds it.
    fn has_folders(&self) -> bool {
        self.folders.iter().all(|folder| fs::metadata(folder).is_ok_and(|found| found.nlink() > 0))
    }

    fn is_whole(&self) -> bool {
        self.text.is_some() && self.has_folders()
    }

    async fn changed(&self) {
        let had_folders = self.has_folders();
        while self.has_folders() == had_folders && fs::read(&self.settings).ok() == self.text {
            sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::Pusher;

    #[tokio::test]
    async fn a_pusher_that_began_while_the_store_was_laid_anew_does_not_wait_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("cache.json");
        fs::write(&settings, "{}").unwrap();
        let [store, queue] = ["store", "queue"].map(|name| folder.path().join(name));
        let pusher = Pusher { store, queue, settings, key: None, login: None };
        tokio::time::timeout(Duration::from_secs(60), pusher.run()).await.unwrap().unwrap();
    }
}
