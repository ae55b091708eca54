//! Everything that is known of one runner.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use super::uploads::{Uploads, uploads, uploads_of_jobs};
use crate::{
    commands::steps::{
        housing::Housing,
        standing,
        subject::{Known, Subject},
        token,
        version::RunnerVersion,
    },
    config::CredentialArgs,
    contract::{Phase, State},
    engine::{InForce, Inspected, Status as ContainerStatus},
    github::{GitHub, Runner},
    installation::{Drained, Installation, Record, Updates},
    systemd::{self, NextUpdate},
    value::{ByteSize, Caps},
};

/// What takes its time, or has a limit: looked at more rarely by who watches.
#[derive(Clone)]
pub(super) struct Slow {
    at: Instant,
    github: Result<Option<Runner>, String>,
    version: Option<RunnerVersion>,
    store: Option<ByteSize>,
}

/// How old it may be.
const SLOW: Duration = Duration::from_secs(30);

/// Everything that is known of one runner; what could not be asked is the reason why.
pub(super) struct Report {
    pub known: Known,
    pub housing: Housing,
    /// What was verified; nothing on a host.
    pub record: Option<Record>,
    /// The unit that makes its container, and how systemd says that it is; none for `up`'s.
    pub unit: Option<(String, String)>,
    /// What the engine says; a reason when it could not be asked.
    pub container: Result<Option<Inspected>, String>,
    /// Of an ephemeral runner: its jobs' containers, of which the first one is that container.
    pub jobs: Option<Vec<standing::Job>>,
    pub in_force: Option<Result<InForce, String>>,
    pub state: Option<State>,
    /// What it would go back to, and what it went back from.
    pub updates: Updates,
    /// Since when it is to take no jobs.
    pub drained: Option<Drained>,
    pub github: Result<Option<Runner>, String>,
    /// Which version of GitHub's program it is, and for how long that is served.
    pub version: Option<RunnerVersion>,
    /// Where it is updated by itself.
    pub next_update: Option<NextUpdate>,
    pub store: Option<ByteSize>,
    /// What the pusher says, where there is one.
    pub uploads: Option<Uploads>,
}

impl Report {
    pub async fn of(
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
        let Subject { housing, record, known: runner, is_ephemeral, .. } = Subject::of(installation.clone())?;
        if let Some((service, state)) = unit.as_ref().filter(|_| record.is_none() && !housing.is_host()) {
            anyhow::bail!(
                "declared, and never started yet ({service} is {state}): {}",
                installation.never_started(is_ephemeral)
            );
        }
        let jobs = match housing.engine().filter(|_| is_ephemeral) {
            Some(engine) => standing::jobs(engine, name).map(Some),
            None => Ok(None),
        };
        let (container, jobs) = match jobs {
            Ok(None) => (housing.inspect(name), None),
            Ok(Some(jobs)) => (Ok(jobs.first().map(|job| job.container.clone())), Some(jobs)),
            Err(why) => (Err(why), None),
        };
        let all = jobs.iter().flatten().map(|job| &job.container);
        let caps = record.as_ref().map_or(runner.caps, |record| record.caps);
        let in_force = all.chain(container.iter().flatten()).filter_map(|found| in_force(found, caps));
        // The worst of them tells.
        let in_force = in_force.reduce(|one, other| if one.is_err() { one } else { other });
        let slow = match known {
            Some(known) => known,
            None => Slow::look(&runner, credential, &housing, installation, is_ephemeral).await,
        };
        let Slow { github, version, store, .. } = slow.clone();
        let container = container.map_err(|why| why.to_string());
        let uploads = match housing.engine().filter(|_| is_ephemeral) {
            Some(engine) => uploads_of_jobs(engine, name),
            None => uploads(&housing, installation),
        };
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
            known: runner,
            housing,
            record,
        };
        Ok((report, slow))
    }

    /// The container is of the image that was verified, or its place is empty.
    pub fn runs_what_was_verified(&self) -> bool {
        let Ok(Some(found)) = &self.container else { return true };
        // A job of an ephemeral runner goes on with the image that it began with.
        let Some(record) = self.record.as_ref().filter(|_| self.jobs.is_none()) else { return true };
        record.local_id.is_empty() || found.image_id == record.local_id
    }

    /// It runs under its caps, from the verified image, and takes jobs as far as can be known from here.
    pub fn is_sound(&self) -> bool {
        let takes_jobs = match (&self.github, &self.state) {
            (Ok(runner), _) => runner.as_ref().is_some_and(Runner::is_online),
            (Err(_), Some(state)) => matches!(state.phase, Phase::Listening | Phase::Busy),
            (Err(_), None) => true,
        };
        matches!(self.in_force, Some(Ok(_))) && self.runs_what_was_verified() && takes_jobs
    }

    /// The caps that it was made with.
    pub fn caps(&self) -> Caps {
        self.record.as_ref().map_or(self.known.caps, |record| record.caps)
    }

    /// What ends soon, and what to type.
    pub fn warning(&self, version: &RunnerVersion) -> Option<String> {
        version.warning(&self.known.identity.name, self.housing.is_host(), Timestamp::now())
    }

    pub fn object(&self) -> serde_json::Value {
        json!({
            "name": self.known.identity.name,
            "repository": self.known.identity.scope,
            "labels": self.known.identity.labels,
            "engine": self.housing.name(),
            "unit": self.unit.as_ref().map(|(name, state)| json!({ "name": name, "state": state })),
            "image": self.record.as_ref().map(|record| &record.image),
            "digest": self.record.as_ref().map(|record| &record.digest),
            "evidence": self.record.as_ref().map(|record| &record.evidence),
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
                "asked": self.caps(),
                "in_force": self.in_force.as_ref().and_then(|caps| caps.as_ref().ok()),
                "error": self.in_force.as_ref().and_then(|caps| caps.as_ref().err()),
            },
            "runner": self.state,
            "previous": self.updates.previous.as_ref().map(|previous| &previous.record.digest),
            "refused": self.updates.refused,
            "drained": self.drained.map(|drained| drained.since),
            "registered": self.known.is_registered,
            "accepts_strangers_code": self.known.accepted,
            "github": match &self.github {
                Ok(Some(runner)) => json!({ "id": runner.id, "status": runner.status, "busy": runner.busy }),
                Ok(None) => json!({ "status": "unknown there" }),
                Err(why) => json!({ "error": why }),
            },
            "runner_version": self.version.as_ref().map(|version| json!({
                "version": version.version,
                "ends": version.ends,
                "warning": self.warning(version),
            })),
            "next_update": self.next_update,
            "store_bytes": self.store.map(|size| size.0),
            "uploads": self.uploads,
        })
    }
}

/// What the kernel holds a container to, while it runs.
fn in_force(found: &Inspected, caps: Caps) -> Option<Result<InForce, String>> {
    if found.status != ContainerStatus::Running || found.pid == 0 {
        return None;
    }
    let asked = found.asked(caps);
    let read = InForce::of(found.pid).and_then(|caps| caps.prove(&asked).map(|()| caps));
    Some(read.map_err(|why| why.to_string()))
}

impl Slow {
    pub(super) fn is_young(&self) -> bool {
        self.at.elapsed() < SLOW
    }

    async fn look(
        known: &Known,
        credential: &CredentialArgs,
        housing: &Housing,
        installation: &Installation,
        is_ephemeral: bool,
    ) -> Self {
        let (github, version) = match ask_github(known, credential, is_ephemeral).await {
            Ok((runner, version)) => (Ok(runner), version),
            Err(why) => (Err(format!("{why:#}")), None),
        };
        Self { at: Instant::now(), github, version, store: store_size(housing, installation) }
    }
}

async fn ask_github(
    known: &Known,
    credential: &CredentialArgs,
    is_ephemeral: bool,
) -> anyhow::Result<(Option<Runner>, Option<RunnerVersion>)> {
    let identity = &known.identity;
    let credential = token::credential(credential, &known.github, &identity.scope).await?;
    let github = GitHub::new(&identity.server, &identity.scope, &credential)?;
    let runner = standing::listed(&github, &identity.name, is_ephemeral).await?;
    let version = match &runner {
        Some(runner) => RunnerVersion::of(&github, runner).await,
        None => None,
    };
    Ok((runner, version))
}

/// The disk that the store's volume takes, as the file system counts it.
fn store_size(housing: &Housing, installation: &Installation) -> Option<ByteSize> {
    // A host's is not the runner's alone.
    let place = housing.store(installation).ok().flatten().filter(|_| !housing.is_host())?;
    // A store of a million files takes its time: then its size is left out.
    let mut du = crate::secrecy::command("timeout");
    let output = du.args(["5", "du", "-s", "--block-size=1"]).arg(place).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next()?.parse().ok().map(ByteSize)
}
