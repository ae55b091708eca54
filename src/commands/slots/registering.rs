//! From a warm container to a runner that GitHub sends a job to.

use std::time::Duration;

use tokio::{sync::Mutex, time::Instant};

use super::{
    super::{
        install::UnitError,
        steps::{declared::Declared, push_only},
    },
    job::Job,
};
use crate::{
    engine::is_job_of,
    github::{Credential, GitHub, Runner},
    installation::{Identity, Installation},
    progress::Progress,
    runner::say,
    value::{RunnerName, Scope},
};

/// Who asks GitHub for just-in-time configurations, one after the other.
pub struct Registering {
    runner: Installation,
    /// When it was last looked at what can reach the runner.
    looked: Mutex<Option<(Instant, Identity)>>,
}

/// For so long the last look at the repository's workflows counts.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

impl Registering {
    pub fn new(runner: Installation) -> Self {
        Self { runner, looked: Mutex::new(None) }
    }

    /// GitHub as the unit's own credential asks it: read anew, because it may have been replaced.
    async fn github(&self) -> anyhow::Result<(Declared, GitHub)> {
        let declared = Declared::read(&self.runner)?;
        let credential = declared.credential().await?.ok_or(UnitError::NoCredential)?;
        let settings = &declared.settings;
        let github = GitHub::new(&settings.github.server, &settings.scope, &credential)?;
        Ok((declared, github))
    }

    /// Have GitHub know a runner of the job's name, and hand over what it takes to be that.
    pub async fn register(&self, job: &mut Job) -> anyhow::Result<()> {
        let (declared, github) = self.github().await?;
        self.look(&declared, &github).await?;
        let settings = &declared.settings;
        let group = match &settings.scope {
            Scope::Organization(organization) => {
                github.of(organization).group(settings.group.as_deref()).await?.id
            }
            // A repository's runners are all in the one group.
            Scope::Repository(_) => 1,
        };
        // What comes of a reply that is lost is looked at in the end.
        job.is_registered = true;
        let made = github.generate_jit_config(&job.name, group, &settings.labels).await?;
        job.place.lay_jit_config(&made.encoded_jit_config, job.place.handover_owner())?;
        Ok(())
    }

    /// Whether GitHub takes the credential. No token is minted for that of an App.
    pub async fn ask(&self) -> anyhow::Result<()> {
        let declared = Declared::read(&self.runner)?;
        let (asked, scope) = (declared.github(), &declared.settings.scope);
        if let Some(app) = &asked.app {
            return Ok(Credential::expect_app(&app.id, &app.key_file, &asked.server, scope).await?);
        }
        let (_, github) = self.github().await?;
        github.runner(&self.runner.name).await?;
        Ok(())
    }

    /// No stranger can start a job here: or none is taken.
    async fn look(&self, declared: &Declared, github: &GitHub) -> anyhow::Result<()> {
        let mut looked = self.looked.lock().await;
        let identity = declared.identity();
        if looked.as_ref().is_some_and(|(at, of)| at.elapsed() < LOOK_AGAIN && of.is_same(&identity)) {
            return Ok(());
        }
        let accepts = self.runner.accepted()?.is_some()
            || self.runner.record()?.is_some_and(|record| record.accepted.is_some());
        push_only::demand(github, &identity, accepts, &Progress::quiet()).await?;
        *looked = Some((Instant::now(), identity));
        Ok(())
    }

    /// Take off GitHub's list what is this runner's there, has no job, is not connected, and has no container here.
    pub async fn sweep(&self) -> anyhow::Result<()> {
        let (declared, github) = self.github().await?;
        let runner = &self.runner.name;
        let is_idle =
            |listed: &Runner| is_job_of(runner, &listed.name) && !listed.is_online() && !listed.busy;
        let listed = github.runners(is_idle).await?;
        if listed.is_empty() {
            return Ok(());
        }
        // Asked afterwards: a job has its container before GitHub knows it.
        let jobs = declared.engine()?.jobs(runner)?;
        for listed in listed.iter().filter(|listed| !jobs.iter().any(|(job, _)| job.as_str() == listed.name))
        {
            github.delete_runner(listed).await?;
            say(&format!("{} was left over at GitHub, and is removed", listed.name));
        }
        Ok(())
    }

    /// One job's runner that had no job.
    pub async fn forget(&self, job: &RunnerName) -> anyhow::Result<()> {
        let (_, github) = self.github().await?;
        if let Some(listed) = github.runner(job).await?
            && !listed.busy
        {
            github.delete_runner(&listed).await?;
        }
        Ok(())
    }
}
