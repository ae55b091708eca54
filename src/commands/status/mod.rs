//! `status`: what runs here, under which caps, and what GitHub says of it.

mod text;
mod uploads;

use std::{
    collections::HashMap,
    io::IsTerminal as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;

use self::uploads::{Uploads, uploads};
use super::steps::{declared::Declared, standing, version::RunnerVersion};
use crate::{
    config::CredentialArgs,
    contract::{Phase, State},
    engine::{self, Cli, InForce, Inspected, Status as ContainerStatus},
    exit::Kind,
    github::{GitHub, Runner},
    installation::{Drained, Installation, Places, Record, Updates},
    progress::Output,
    systemd::{self, NextUpdate},
    value::ByteSize,
};

/// Show the runners that are installed here
///
/// The container, the digest that runs and when its signature was verified, the caps that were asked for and
/// those that the kernel enforces, the registration, what GitHub says (asked with the same login as `up`), and how
/// large the store is. Exit code 0: every runner runs, under its caps, and takes jobs; 8: one does not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder status
  vega-builder status --watch
  vega-builder status octo-org/heavy-builds --output json")]
pub struct StatusCommand {
    /// The runner's name, its repository or its organisation; all of them unless given
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    runner: Option<String>,
    #[command(flatten)]
    credential: CredentialArgs,
    /// Look again and again, every so many seconds, until ^C; GitHub and the store's size every half a minute
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What takes its time, or has a limit: looked at more rarely by who watches.
#[derive(Clone)]
struct Slow {
    at: Instant,
    github: Result<Option<Runner>, String>,
    version: Option<RunnerVersion>,
    store: Option<ByteSize>,
}

/// How old it may be.
const SLOW: Duration = Duration::from_secs(30);

/// Everything that is known of one runner; what could not be asked is the reason why.
struct Report {
    record: Record,
    /// The unit that makes its container, and how systemd says that it is; none for `up`'s.
    unit: Option<(String, String)>,
    /// What the engine says; a reason when it could not be asked.
    container: Result<Option<Inspected>, String>,
    /// Of an ephemeral runner: its jobs' containers, of which the first one is that container.
    jobs: Option<Vec<standing::Job>>,
    in_force: Option<Result<InForce, String>>,
    state: Option<State>,
    /// What it would go back to, and what it went back from.
    updates: Updates,
    /// Since when it is to take no jobs.
    drained: Option<Drained>,
    github: Result<Option<Runner>, String>,
    /// Which version of GitHub's program it is, and for how long that is served.
    version: Option<RunnerVersion>,
    /// Where it is updated by itself.
    next_update: Option<NextUpdate>,
    store: Option<ByteSize>,
    /// What the pusher says, where there is one.
    uploads: Option<Uploads>,
}

impl StatusCommand {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let mut slow = HashMap::new();
        let Some(seconds) = self.watch else { return self.look(&mut slow, false).await };
        loop {
            self.look(&mut slow, true).await?;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
                _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            }
        }
    }

    /// One look, with what the last ones know already.
    async fn look(&self, slow: &mut HashMap<String, Slow>, anew: bool) -> anyhow::Result<ExitCode> {
        let installed = Places::standard().wanted(self.runner.as_deref())?;
        let (mut reports, mut unreadable) = (Vec::new(), Vec::new());
        for installation in &installed {
            // One runner that cannot be told of does not hide the others.
            let name = installation.name.to_string();
            let known = slow.remove(&name).filter(|known| known.at.elapsed() < SLOW);
            match Report::of(installation, &self.credential, known).await {
                Ok((report, known)) => {
                    slow.insert(name, known);
                    reports.push(report);
                }
                Err(error) => unreadable.push((&installation.name, format!("{error:#}"))),
            }
        }
        if anew && self.output == Output::Text && std::io::stdout().is_terminal() {
            anstream::print!("\u{1b}[H\u{1b}[2J");
        }
        match self.output {
            Output::Json => {
                let broken = unreadable.iter().map(|(name, why)| json!({ "name": name, "error": why }));
                let objects: Vec<_> = reports.iter().map(Report::object).chain(broken).collect();
                println!("{}", serde_json::to_string_pretty(&objects)?);
            }
            Output::Text => {
                reports.iter().for_each(Report::print);
                for (name, why) in &unreadable {
                    anstream::println!("{name}\n  {why}");
                }
            }
        }
        let all_sound = unreadable.is_empty() && reports.iter().all(Report::is_sound);
        Ok(if all_sound { ExitCode::SUCCESS } else { ExitCode::from(Kind::Offline as u8) })
    }
}

impl Report {
    async fn of(
        installation: &Installation,
        credential: &CredentialArgs,
        known: Option<Slow>,
    ) -> anyhow::Result<(Self, Slow)> {
        let name = &installation.name;
        let unit = installation.is_declared().then(|| {
            let service = systemd::service_name(name);
            let state = systemd::property(&service, "ActiveState");
            (service, state)
        });
        let mut record = installation.record()?.with_context(|| match &unit {
            Some((service, state)) => format!(
                "declared, and never started yet ({service} is {state}): type `vega-builder register {name}`, or see \
                 `journalctl -u {service}`"
            ),
            None => "the record is gone".to_owned(),
        })?;
        let mut is_ephemeral = false;
        if unit.is_some() {
            // Its volume is looked at: no note of ours could be as true.
            let declared = Declared::read(installation)?;
            is_ephemeral = declared.settings.ephemeral.is_some();
            record.registered = declared.is_registered()?.then(|| declared.identity());
            record.identity = declared.identity();
        }
        let engine = engine::detect(Some(&record.engine))?;
        let jobs = is_ephemeral.then(|| standing::jobs(&engine, name)).transpose();
        let (container, jobs) = match jobs {
            Ok(None) => (engine.inspect(name.as_str()), None),
            Ok(Some(jobs)) => (Ok(jobs.first().map(|job| job.container.clone())), Some(jobs)),
            Err(why) => (Err(why), None),
        };
        let all = jobs.iter().flatten().map(|job| &job.container);
        let in_force = all.chain(container.iter().flatten()).filter_map(|found| in_force(found, &record));
        // The worst of them tells.
        let in_force = in_force.reduce(|one, other| if one.is_err() { one } else { other });
        let slow = match known {
            Some(known) => known,
            None => Slow::look(&record, credential, &engine, installation, is_ephemeral).await,
        };
        let Slow { github, version, store, .. } = slow.clone();
        let container = container.map_err(|why| why.to_string());
        let uploads = if is_ephemeral { None } else { uploads(&engine, installation) };
        let report = Self {
            state: installation.runner_state(),
            updates: installation.updates()?,
            drained: installation.drained()?,
            unit,
            container,
            jobs,
            in_force,
            github,
            version,
            next_update: NextUpdate::of(name),
            store,
            uploads,
            record,
        };
        Ok((report, slow))
    }

    /// The container is of the image that was verified, or its place is empty.
    fn runs_what_was_verified(&self) -> bool {
        let Ok(Some(found)) = &self.container else { return true };
        // A job of an ephemeral runner goes on with the image that it began with.
        self.jobs.is_some() || self.record.local_id.is_empty() || found.image_id == self.record.local_id
    }

    /// It runs under its caps, from the verified image, and takes jobs as far as can be known from here.
    fn is_sound(&self) -> bool {
        let takes_jobs = match (&self.github, &self.state) {
            (Ok(runner), _) => runner.as_ref().is_some_and(Runner::is_online),
            (Err(_), Some(state)) => matches!(state.phase, Phase::Listening | Phase::Busy),
            (Err(_), None) => true,
        };
        matches!(self.in_force, Some(Ok(_))) && self.runs_what_was_verified() && takes_jobs
    }

    fn object(&self) -> serde_json::Value {
        json!({
            "name": self.record.identity.name,
            "repository": self.record.identity.scope,
            "labels": self.record.identity.labels,
            "engine": self.record.engine,
            "unit": self.unit.as_ref().map(|(name, state)| json!({ "name": name, "state": state })),
            "image": self.record.image,
            "digest": self.record.digest,
            "evidence": self.record.evidence,
            "container": match &self.container {
                Ok(Some(found)) => json!({
                    "id": found.id,
                    "image": found.image_id,
                    "is_of_the_verified_image": self.runs_what_was_verified(),
                    "status": format!("{:?}", found.status).to_lowercase(),
                    "pid": found.pid,
                    "started_at": found.started_at,
                    "restarts": found.restarts,
                }),
                Ok(None) => serde_json::Value::Null,
                Err(why) => json!({ "error": why }),
            },
            "slots": self.jobs.as_ref().map(|jobs| {
                let slot = |job: &standing::Job| {
                    json!({ "slot": job.slot, "name": job.name, "pid": job.container.pid, "runner": job.state })
                };
                jobs.iter().map(slot).collect::<Vec<_>>()
            }),
            "caps": {
                "asked": self.record.caps,
                "in_force": self.in_force.as_ref().and_then(|caps| caps.as_ref().ok()),
                "error": self.in_force.as_ref().and_then(|caps| caps.as_ref().err()),
            },
            "runner": self.state,
            "previous": self.updates.previous.as_ref().map(|previous| &previous.record.digest),
            "refused": self.updates.refused,
            "drained": self.drained.map(|drained| drained.since),
            "registered": self.record.registered.is_some(),
            "accepts_strangers_code": self.record.accepted,
            "github": match &self.github {
                Ok(Some(runner)) => json!({ "id": runner.id, "status": runner.status, "busy": runner.busy }),
                Ok(None) => json!({ "status": "unknown there" }),
                Err(why) => json!({ "error": why }),
            },
            "runner_version": self.version.as_ref().map(|version| json!({
                "version": version.version,
                "ends": version.ends,
                "warning": version.warning(&self.record.identity.name, Timestamp::now()),
            })),
            "next_update": self.next_update,
            "store_bytes": self.store.map(|size| size.0),
            "uploads": self.uploads,
        })
    }
}

/// What the kernel holds a container to, while it runs.
fn in_force(found: &Inspected, record: &Record) -> Option<Result<InForce, String>> {
    if found.status != ContainerStatus::Running || found.pid == 0 {
        return None;
    }
    let asked = found.asked(record.caps);
    let read = InForce::of(found.pid).and_then(|caps| caps.prove(&asked).map(|()| caps));
    Some(read.map_err(|why| why.to_string()))
}

impl Slow {
    async fn look(
        record: &Record,
        credential: &CredentialArgs,
        engine: &Cli,
        installation: &Installation,
        is_ephemeral: bool,
    ) -> Self {
        let (github, version) = match ask_github(record, credential, is_ephemeral).await {
            Ok((runner, version)) => (Ok(runner), version),
            Err(why) => (Err(format!("{why:#}")), None),
        };
        Self { at: Instant::now(), github, version, store: store_size(engine, installation) }
    }
}

async fn ask_github(
    record: &Record,
    credential: &CredentialArgs,
    is_ephemeral: bool,
) -> anyhow::Result<(Option<Runner>, Option<RunnerVersion>)> {
    let identity = &record.identity;
    let credential = super::steps::token::credential(credential, &record.github(), &identity.scope).await?;
    let github = GitHub::new(&identity.server, &identity.scope, &credential)?;
    let runner = standing::listed(&github, &identity.name, is_ephemeral).await?;
    let version = match &runner {
        Some(runner) => RunnerVersion::of(&github, runner).await,
        None => None,
    };
    Ok((runner, version))
}

/// The disk that the store's volume takes, as the file system counts it.
fn store_size(engine: &Cli, installation: &Installation) -> Option<ByteSize> {
    let place = engine.volume_place(&engine::store_volume(&installation.name)).ok()??;
    // A store of a million files takes its time: then its size is left out.
    let mut du = crate::secrecy::command("timeout");
    let output = du.args(["5", "du", "-s", "--block-size=1"]).arg(place).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next()?.parse().ok().map(ByteSize)
}
