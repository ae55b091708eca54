//! `serve`: this host's own cache to whoever may ask, for reading alone.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{anyhow, bail};
use tokio::{net::TcpListener, signal};

use crate::cache::serving;

/// Serve a cache's folder over HTTP, for reading alone
///
/// What it serves is signed, and whoever asks checks that: the line itself need not be secret. Put a web server with TLS
/// before it where that matters. It ends on SIGTERM.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder serve
  vega-builder serve --listen 0.0.0.0:8080 --cache /srv/cache")]
pub struct Serve {
    /// The cache's folder
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/vega-builder/cache")]
    cache: PathBuf,
    /// Where it listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

impl Serve {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        if !self.cache.is_dir() {
            bail!(
                "{} is no folder: `vega-builder push --to file://{}` makes it a cache",
                self.cache.display(),
                self.cache.display()
            );
        }
        let listener = TcpListener::bind(self.listen).await.map_err(|why| {
            anyhow!("cannot listen at {}: {why}; choose another address with --listen", self.listen)
        })?;
        anstream::println!("serving {} at http://{}", self.cache.display(), listener.local_addr()?);
        let mut told = signal::unix::signal(signal::unix::SignalKind::terminate())?;
        tokio::select! {
            served = serving::serve(listener, self.cache) => served?,
            _ = told.recv() => {}
            _ = signal::ctrl_c() => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}
