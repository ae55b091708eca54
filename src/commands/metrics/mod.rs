//! `metrics`: the runners of this host in numbers, for Prometheus.

mod families;
mod sample;
mod waiting;

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse as _,
    routing::get,
};
use prometheus::TextEncoder;
use tokio::{net::TcpListener, signal, task::spawn_blocking};

use self::{families::families, sample::Sample, waiting::Waiting};
use super::steps::subject::Subject;
use crate::{config::CredentialArgs, installation::Places};

/// Give the runners of this host in numbers, for Prometheus
///
/// Jobs by result, busy seconds, the caps and what is taken of them, processes killed at the memory cap, collections of
/// garbage, uploads, and, with a GitHub token that may read the repository's Actions, how long jobs waited: as text on standard output, as a file for node_exporter's textfile collector, or at
/// http://127.0.0.1:9478/metrics. docs/grafana.json is a dashboard for them. No job is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder metrics
  vega-builder metrics --textfile /var/lib/prometheus/node-exporter/vega-builder.prom
      every minute, from a timer
  vega-builder metrics --listen 127.0.0.1:9478")]
pub struct Metrics {
    /// Write them into this file, whole, and end
    #[arg(long, value_name = "FILE", conflicts_with = "listen")]
    textfile: Option<PathBuf>,
    /// Serve them there, until told to end; an address of this host's loopback
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:9478", value_parser = loopback)]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    credential: CredentialArgs,
}

/// Whoever reaches it reads the names of repositories.
fn loopback(given: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = given.parse().map_err(|why| format!("{why}; write e.g. 127.0.0.1:9478"))?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("it is not of this host's loopback, and whoever reaches it would read the names of repositories: listen at \
         127.0.0.1:9478, and let Prometheus come through a proxy with a login"
        .to_owned())
}

/// The text format's own version.
const TEXT: &str = "text/plain; version=0.0.4";

impl Metrics {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(address) = self.listen {
            serve(address, self.credential).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let text = text(&self.credential).await?;
        match self.textfile {
            Some(file) => {
                write(&file, &text).with_context(|| {
                    format!(
                        "{} cannot be written: does its folder exist, and may you write there?",
                        file.display()
                    )
                })?;
            }
            None => std::io::stdout().write_all(text.as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Every runner that is installed here; none is no error: an alert can tell that from a program that is away.
async fn text(credential: &CredentialArgs) -> anyhow::Result<String> {
    for installation in Places::standard().installed() {
        if let Ok(subject) = Subject::of(installation) {
            // Not known, and left out, is no failure of the rest.
            let _ = Waiting::learn(&subject, credential).await;
        }
    }
    let samples =
        spawn_blocking(|| Places::standard().installed().into_iter().map(Sample::of).collect::<Vec<_>>())
            .await?;
    TextEncoder::new().encode_to_string(&families(&samples)).map_err(|why| anyhow!("{why}"))
}

/// The collector reads at any time: beside it first.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let readable = std::fs::Permissions::from_mode(0o644);
    let mut beside = tempfile::Builder::new().permissions(readable).tempfile_in(folder)?;
    beside.write_all(text.as_bytes())?;
    beside.persist(file).map_err(|error| error.error).map(drop)
}

async fn serve(address: SocketAddr, credential: CredentialArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen at {address}: choose another address with --listen"))?;
    anstream::println!("metrics at http://{}/metrics", listener.local_addr()?);
    let credential = Arc::new(credential);
    let answer = move || {
        let credential = credential.clone();
        async move {
            match text(&credential).await {
                Ok(text) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
                Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why:#}\n")).into_response(),
            }
        }
    };
    let mut told = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    tokio::select! {
        served = axum::serve(listener, Router::new().route("/metrics", get(answer))) => served?,
        _ = told.recv() => {}
        _ = signal::ctrl_c() => {}
    }
    Ok(())
}
