//! `push`: store paths to a binary cache.

use std::{
    io::Read as _,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use harmonia_store_core::store_path::StorePath;
use serde_json::json;

use crate::{
    cache::{
        Store,
        compression::Compression,
        key::{self, KeyError},
        meter::{Meter, rate, shown},
        place::Place,
        push::{Outcome, Push},
        secrets::{Allowed, Scanner},
        upstream::Upstreams,
    },
    exit::Kind,
    progress::{Output, Progress, Step},
};

/// Push store paths, with all that they refer to, to a binary cache
///
/// What the cache has is not pushed again, nor what an upstream cache has for certain. Every path is looked through for
/// private keys and tokens first: one that has some stays here, and so does all that depends on it. A path is announced
/// when all that it refers to can be had; broken off at any time, the same command again goes on from there.
///
/// Exit codes: 0 all of it can be had, 1 something else, 2 settings, 11 some paths stayed here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder push ./result --to file:///srv/cache --key /etc/vega-builder/cache-key
  vega-builder push .#default --to vega
  vega-builder push .#default --to https://cache.example.org
  nix path-info --recursive ./result | vega-builder push --stdin --to 's3://bucket?region=eu-central-1'
  vega-builder push --store 'local?root=/mnt' /nix/store/…-hello")]
pub struct PushCommand {
    /// Store paths, links to them, or flakes that are built
    #[arg(value_name = "PATH|FLAKE", required_unless_present = "stdin")]
    wanted: Vec<String>,
    /// Read more of them from standard input, one a line
    #[arg(long)]
    stdin: bool,
    /// The cache: vega (your namespace there: `vega-builder login`), file:///folder, http(s)://host/path (PUT), s3://bucket/prefix?region=…&endpoint=…, gs://, az://
    #[arg(long, value_name = "URL", env = "VEGA_BUILDER_CACHE_TO", hide_env_values = true, default_value = DEFAULT_CACHE)]
    to: String,
    /// The secret key that signs what is pushed (`vega-builder key generate`)
    #[arg(long, value_name = "FILE", env = "VEGA_BUILDER_CACHE_KEY")]
    key: Option<PathBuf>,
    /// What the cache is logged in with: a netrc file for http(s)://, lines like AWS_ACCESS_KEY_ID=… for an object store
    /// [default: what the address or the environment has; for vega what `login` keeps]
    #[arg(long, value_name = "FILE", env = "VEGA_BUILDER_CACHE_LOGIN")]
    login: Option<PathBuf>,
    /// The Nix store to push from, as Nix's own --store [default: as nix chooses]
    #[arg(long, value_name = "STORE-URL")]
    store: Option<String>,
    /// zstd, xz or none
    #[arg(long, value_name = "NAME", default_value = "zstd")]
    compression: String,
    /// How hard it compresses: zstd 1 to 19, xz 0 to 6 [default: 3, 6]
    #[arg(long, value_name = "NUMBER")]
    level: Option<i32>,
    /// A cache whose paths need not be pushed; several are separated by commas, none is ''
    #[arg(long, value_name = "URL", value_delimiter = ',', default_value = "https://cache.nixos.org")]
    upstream: Vec<String>,
    /// No secret although it looks like one: a rule, and an expression for the file's name
    #[arg(long, value_name = "RULE:EXPRESSION")]
    allow_secret: Vec<Allowed>,
    /// Do not look for secrets
    #[arg(long)]
    no_secret_scan: bool,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Where a host keeps its own.
pub const DEFAULT_CACHE: &str = "file:///var/lib/vega-builder/cache";
const TICK: Duration = Duration::from_millis(200);

impl PushCommand {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let mut wanted = self.wanted.clone();
        if self.stdin {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
            wanted.extend(text.split_whitespace().map(str::to_owned));
        }
        let push = Arc::new(self.push()?);
        let step = progress.step("push", &format!("asking nix and {}", push.place.shown));
        let began = Instant::now();
        let outcome = watched(&push, wanted, &step, began).await?;
        step.done(&summary(&push, &outcome, began.elapsed()));
        for away in push.upstreams.away() {
            progress.note(&format!("{away} did not answer: what it may have was pushed"));
        }
        if let Some(why) = &outcome.unheld {
            progress.note(&format!("nothing held the paths against a garbage collection meanwhile: {why}"));
        }
        for refused in &outcome.refused {
            progress.note(&format!("{} stays here: {}", refused.path, refused.why));
        }
        tell(&progress, &push, &outcome).await;
        Ok(if outcome.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Kind::StaysHere as u8) })
    }

    fn push(&self) -> anyhow::Result<Push> {
        let place = Place::at(&self.to, self.login.as_deref())?;
        if place.signs() && self.key.is_some() {
            return Err(KeyError::NotOurs.into());
        }
        let upstream: Vec<String> = self.upstream.iter().filter(|url| !url.is_empty()).cloned().collect();
        Ok(Push {
            store: Store::open(self.store.as_deref()),
            place,
            upstreams: Upstreams::new(&upstream)?,
            scanner: (!self.no_secret_scan).then(|| Scanner::new(self.allow_secret.clone())),
            key: self.key.as_deref().map(key::read).transpose()?,
            // Only a runner knows where it builds.
            provenance_key: None,
            compression: Compression::of(&self.compression, self.level)?,
            meter: Arc::new(Meter::default()),
        })
    }
}

/// The last word: what to write into nix.conf.
async fn tell(progress: &Progress, push: &Push, outcome: &Outcome) {
    let url = push.place.substituter();
    let public = match &push.key {
        Some(key) => Some(key.to_public_key().to_string()),
        None => push.place.public_key().await,
    };
    let trusted = public.as_ref().map(|public| format!("\nextra-trusted-public-keys = {public}"));
    let text = format!("extra-substituters = {url}{}", trusted.unwrap_or_default());
    let names = |paths: &[StorePath]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    let refused = outcome.refused.iter().map(|one| json!({ "path": one.path.to_string(), "why": one.why }));
    progress.result(
        &text,
        &json!({
            "substituter": url,
            "public_key": public,
            "closure": outcome.closure,
            "present": outcome.present,
            "upstream": outcome.upstream,
            "pushed": names(&outcome.pushed),
            "refused": refused.collect::<Vec<_>>(),
            "bytes": push.meter.bytes_sent(),
        }),
    );
}

/// The push, with its state on the live line.
async fn watched(
    push: &Arc<Push>,
    wanted: Vec<String>,
    step: &Step<'_>,
    began: Instant,
) -> anyhow::Result<Outcome> {
    let mut ticks = tokio::time::interval(TICK);
    let work = push.run(wanted);
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return Ok(outcome?),
            _ = ticks.tick() => step.doing(&push.meter.line(began.elapsed())),
            _ = tokio::signal::ctrl_c() => {
                push.place.commit().await?;
                bail!("broken off; what was announced stays: type the same command again to go on");
            }
        }
    }
}

fn summary(push: &Push, outcome: &Outcome, elapsed: Duration) -> String {
    let mut parts = vec![format!("{} of {} paths pushed", outcome.pushed.len(), outcome.closure)];
    let sent = push.meter.bytes_sent();
    if sent > 0 {
        parts.push(format!("{} at {}", shown(sent), rate(sent, elapsed)));
    }
    for (count, what) in [
        (outcome.present, "were there"),
        (outcome.upstream, "are upstream"),
        (outcome.refused.len(), "stay here"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(", ")
}
