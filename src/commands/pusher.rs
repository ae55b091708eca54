//! `pusher`: beside a runner, outside of its container: it has the credential that no job may have.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
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
/// `up` starts it in a container of the runner's own verified image: the store is there for reading alone. Told to end, it
/// ends when nothing is left to push.
#[derive(Debug, clap::Args)]
pub struct Pusher {
    /// Where the store's paths are seen
    #[arg(long, value_name = "FOLDER")]
    store: PathBuf,
    /// The queue's folder
    #[arg(long, value_name = "FOLDER")]
    queue: PathBuf,
    /// What is pushed where, as `up` wrote it down
    #[arg(long, value_name = "FILE")]
    settings: PathBuf,
    /// The key that signs it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Pusher {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let PusherSettings { mut cache, origin } = PusherSettings::read(&self.settings)?;
        cache.key_file = self.key;
        let push = Arc::new(Caching::push(&cache, Store::files(self.store))?);
        let queue = Queue::at(self.queue, MOST);
        let (end, ending) = watch::channel(false);
        let (mut told, mut interrupted) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(async move {
            told.recv().await;
            say("told to end: the uploads that wait come first");
            let _ = end.send(true);
        });
        say(&format!("pushing to {}", push.place.shown));
        let work = async {
            // The runner makes it at its boot; it has the right to.
            while !queue.is_prepared() {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            upload(&queue, &push, &origin, ending, say).await
        };
        tokio::select! {
            ended = work => ended.context("the queue")?,
            // The next one goes on from here.
            _ = interrupted.recv() => push.place.commit().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
