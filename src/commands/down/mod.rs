//! `down`: stop, deregister, remove; nothing of the runner is left on the host or at GitHub.

mod remove;

use std::{process::ExitCode, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    slots::uploads_under_way,
    steps::{
        declared::Declared,
        ending::{LAST_UPLOADS, end_keeper, end_pusher, end_unit, stop_jobs, stop_unit},
        housing::Housing,
        idle::Rest,
        pruning::prune_images,
        subject::Known,
    },
};
use crate::{
    cache::queue::State,
    config::{CredentialArgs, EngineChoice},
    engine::{self, Cli, Status},
    github::{GitHub, Runner},
    installation::{self, Installation, Locked, Places, Record},
    progress::{Output, Progress},
    systemd,
    value::RunnerName,
};

/// Stop the runner, take it off GitHub's list, and remove its container, volumes and files
///
/// While a job runs it does nothing, unless --now is given: `vega-builder drain` waits for the job's end. Builds that wait
/// for their upload are pushed first. It asks GitHub as `up` does, with the same login. With --keep-store the Nix store
/// stays, with the builds that wait, and the
/// next `up` uses it again.
/// When GitHub cannot be reached the container is stopped, but everything stays for the next `down`;
/// --offline removes what is here all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder down
  vega-builder down octo-org/heavy-builds --keep-store")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Down {
    /// The runner's name, its repository or its organisation, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    runner: Option<String>,
    /// Keep the Nix store's volume
    #[arg(long)]
    keep_store: bool,
    /// Keep the image, so that the next `up` need not download it
    #[arg(long)]
    keep_image: bool,
    /// Wait for nothing: a running job is cancelled, and uploads that are under way are broken off
    #[arg(long)]
    now: bool,
    /// Do not ask GitHub; it lists the runner as offline until it is removed there
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    credential: CredentialArgs,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

const LOOK: Duration = Duration::from_secs(1);

/// The keeper of slots has that right while a container begins.
const PATIENCE: Duration = Duration::from_secs(60);

impl Down {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let installation = self.subject()?.lock()?;
        if installation.is_declared() && !installation.is_on_host() {
            let (name, file) = (installation.name.to_string(), installation.declaration.clone());
            if installation.is_installed() {
                return Err(installation::Error::ByInstall { name }.into());
            }
            let next =
                "take the runner out of this system's configuration, switch to that, then type this command again".to_owned();
            return Err(installation::Error::Declared { name, file, next }.into());
        }
        self.take_away(installation).await
    }

    /// The runner that is meant.
    pub fn subject(&self) -> Result<Installation, installation::Error> {
        let places = Places::standard();
        let found = places.find(self.runner.as_deref());
        if found.is_err() {
            places.forget_unfinished();
        }
        found
    }

    pub async fn take_away(self, installation: Locked) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        if self.keep_store && installation.is_on_host() {
            anyhow::bail!(
                "the store of {} is the host's, and stays: leave --keep-store out",
                installation.name
            );
        }
        let record = match installation.record() {
            Ok(record) => record,
            // Its names are all that is needed to take away what is here.
            Err(why) if self.offline => {
                progress.note(&format!("going by the names alone: {why}"));
                None
            }
            Err(why) => {
                return Err(anyhow::Error::new(why).context(
                    "who to ask at GitHub is not known; --offline removes what is here, and GitHub lists the runner \
                     as offline until it is removed there",
                ));
            }
        };
        let housing = housing(&installation, record.as_ref())?;
        // Asked before anything is stopped: a missing login should not cost a running job.
        let known = known(&installation, record.as_ref(), &housing)?;
        let github = match &known {
            Some(known) if !self.offline => Some((self.github(known).await?, known)),
            _ => None,
        };

        let is_ephemeral = installation.is_declared()
            && Declared::read(&installation).is_ok_and(|it| it.settings.ephemeral.is_some());
        let (installation, _held) = if self.now {
            (installation, None)
        } else {
            // Who changes its image has no job start either, and says himself when that is over.
            let switch = installation.hold_switch()?;
            let rest = Rest { housing: &housing, record: record.as_ref(), is_ephemeral };
            rest.expect_idle_at(github.as_ref().map(|(github, _)| github)).await?;
            // Who keeps the slots may wait for that right while a container begins.
            let (place, right) = (installation.places(), (!is_ephemeral).then_some(installation));
            let step = progress.step("rest", "having no other job start");
            let lease = rest.take(&place).await?;
            step.done("no job runs");
            if let Some(engine) = housing.engine().filter(|_| is_ephemeral) {
                jobs_uploads(engine, &place.name, &progress).await?;
            }
            (right.map_or_else(|| place.lock_patiently(PATIENCE), Ok)?, Some((lease, switch)))
        };
        // What it was before may have been another command's to change; and what an engine is told holds this right.
        let record = if is_ephemeral { installation.record().unwrap_or(record) } else { record };
        let housing = self::housing(&installation, record.as_ref())?;
        let step = progress.step("stop", "stopping the runner");
        if installation.is_declared() {
            if !is_ephemeral {
                stop_unit(&systemd::path_name(&installation.name))?;
            }
            end_unit(&housing, &installation.name, is_ephemeral)?;
        }
        end_keeper(&installation)?;
        let stopped = match housing.engine() {
            Some(engine) => {
                stop_jobs(engine, &installation.name)?;
                stop(engine, &installation)?
            }
            None => "stopped",
        };
        step.done(stopped);
        installation.discard_token()?;
        self.last_uploads(&housing, &installation, &progress)?;

        let step = progress.step("github", "taking the runner off GitHub's list");
        match &github {
            Some((github, known)) => step.done(&deregister(github, known, housing.is_host()).await?),
            None if self.offline => step.done("not asked (--offline)"),
            // Every start writes its record before the runner begins.
            None => step.done("not asked: it never started here"),
        }

        let step = progress.step("remove", "removing what it was made of");
        let removed = match housing.engine() {
            Some(engine) => self.remove(engine, &installation, record.as_ref(), &progress)?,
            None => remove::remove_from_host(&installation)?,
        };
        let name = installation.name.clone();
        systemd::forget(&name)?;
        systemd::remove_all(&name)?;
        // The declaration goes last: as long as it is there, this command finds what it has left.
        installation.erase(self.keep_store)?;
        installation.undeclare()?;
        if let Some(engine) = housing.engine() {
            prune_images(engine, &progress);
        }
        Places::standard().tidy()?;
        step.done(&removed.join(", "));

        let text = if self.keep_store {
            format!("{name} is gone; its store stays")
        } else {
            format!("{name} is gone")
        };
        progress.result(&text, &json!({ "name": name, "removed": removed }));
        Ok(ExitCode::SUCCESS)
    }

    async fn github(&self, known: &Known) -> anyhow::Result<GitHub> {
        let identity = &known.identity;
        let credential =
            super::steps::token::credential(&self.credential, &known.github, &identity.scope).await?;
        Ok(GitHub::new(&identity.server, &identity.scope, &credential)?)
    }

    /// What the runner has built is pushed before its queue goes.
    fn last_uploads(
        &self,
        housing: &Housing,
        installation: &Locked,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let name = &installation.name;
        if !installation.cache().exists() {
            return Ok(());
        }
        let step = progress.step("uploads", "waiting for the last uploads");
        if !end_pusher(housing, name, self.now)? {
            step.done("nothing pushes them");
            return Ok(());
        }
        let place = housing.queue(installation)?;
        let state = place.as_deref().and_then(State::read).unwrap_or_default();
        match state.waiting {
            0 => step.done("nothing waits"),
            left if self.keep_store => step.done(&format!("{left} builds stay queued, with the store")),
            left => {
                let why = if state.error.is_empty() { "it took too long" } else { &state.error };
                step.done(&format!("{left} builds were not pushed: {why}"));
            }
        }
        Ok(())
    }
}

/// What it lives in, as far as that can be told.
fn housing(installation: &Locked, record: Option<&Record>) -> anyhow::Result<Housing> {
    let engine = match record {
        Some(record) => engine::detect(Some(&record.engine))?,
        None if installation.is_on_host() => return Ok(Housing::Host),
        None => super::up::chosen_engine(EngineChoice::Auto)?,
    };
    Ok(Housing::Container(engine.holding(installation.right()?)))
}

/// Whom GitHub is asked about; nobody where it never started here.
fn known(installation: &Locked, record: Option<&Record>, housing: &Housing) -> anyhow::Result<Option<Known>> {
    if housing.is_host() {
        return Ok(Some(Known::declared(installation, &Declared::whatever_its_caps(installation)?, None)?));
    }
    Ok(record.map(Known::recorded))
}

fn stop(engine: &Cli, installation: &Locked) -> anyhow::Result<&'static str> {
    Ok(match engine.inspect(installation.name.as_str())? {
        Some(found) if found.fingerprint.is_empty() => "a container of this name is not ours: left alone",
        Some(found) if found.status == Status::Running => {
            engine.stop(&installation.name)?;
            "stopped"
        }
        _ => "nothing runs",
    })
}

/// What the jobs of an ephemeral runner have built is pushed before their queues go.
async fn jobs_uploads(engine: &Cli, name: &RunnerName, progress: &Progress) -> anyhow::Result<()> {
    let step = progress.step("uploads", "waiting for the last uploads");
    let until = Instant::now() + LAST_UPLOADS;
    loop {
        let left = uploads_under_way(engine, name)?;
        if left == 0 || Instant::now() > until {
            step.done(&if left == 0 {
                "nothing waits".to_owned()
            } else {
                format!("{left} builds still wait: it took too long")
            });
            return Ok(());
        }
        step.doing(&format!("{left} builds wait (--now leaves them)"));
        sleep(LOOK).await;
    }
}

async fn deregister(github: &GitHub, known: &Known, is_on_host: bool) -> anyhow::Result<String> {
    let identity = &known.identity;
    let name = &identity.name;
    // One that is connected is another host's by now.
    let is_jobs = |listed: &Runner| engine::is_job_of(name, &listed.name) && !listed.is_online();
    for job in github.runners(is_jobs).await? {
        github.delete_runner(&job).await?;
    }
    match github.runner(name).await? {
        Some(runner) if is_on_host && !known.is_registered && runner.is_online() => {
            Ok(format!("another machine's runner {} is online: left alone", runner.id))
        }
        Some(runner) => {
            github.delete_runner(&runner).await?;
            Ok(format!("runner {} is off the list of {}", runner.id, identity.scope))
        }
        None => Ok("GitHub does not know it".to_owned()),
    }
}
