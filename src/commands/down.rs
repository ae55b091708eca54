//! `down`: stop, deregister, remove; nothing of the runner is left on the host or at GitHub.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use crate::{
    boot, engine,
    github::{Credential, GitHub},
    image::ImageReference,
    installation::{Locked, Places, Record},
    progress::{Output, Progress},
};

/// Stop the runner, take it off GitHub's list, and remove its container, volumes and files
///
/// A job that runs is cancelled. With --keep-store the Nix store stays, and the next `up` uses it again.
/// When GitHub cannot be reached the container is stopped, but everything stays for the next `down`;
/// --offline removes what is here all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder down
  vega-builder down octo-org/heavy-builds --keep-store")]
pub struct Down {
    /// The runner's name or its repository, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO")]
    runner: Option<String>,
    /// Keep the Nix store's volume
    #[arg(long)]
    keep_store: bool,
    /// Keep the image, so that the next `up` need not download it
    #[arg(long)]
    keep_image: bool,
    /// Do not ask GitHub; it lists the runner as offline until it is removed there
    #[arg(long)]
    offline: bool,
    /// A file that holds a GitHub token, instead of GH_TOKEN, GITHUB_TOKEN or `gh auth token`
    #[arg(long, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Down {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let installation = Places::standard().find(self.runner.as_deref())?.lock()?;
        let record = installation.record()?.context("the record is gone")?;
        let engine = engine::detect(Some(&record.engine))?;
        // Asked before anything is stopped: a missing login should not cost a running job.
        let github = if self.offline { None } else { Some(self.github(&record)?) };

        let step = progress.step("stop", "stopping the container");
        match engine.inspect(&installation.name)? {
            Some(present) if present.status == engine::Status::Running => {
                engine.stop(&installation.name)?;
                step.done("stopped");
            }
            _ => step.done("nothing runs"),
        }
        installation.discard_token()?;

        let step = progress.step("github", "taking the runner off GitHub's list");
        match &github {
            Some(github) => step.done(&deregister(github, &record).await?),
            None => step.done("not asked (--offline)"),
        }

        let step = progress.step("remove", "removing container and volumes");
        let removed = self.remove(&engine, &installation, &record)?;
        let name = installation.name.clone();
        boot::forget(&name)?;
        installation.erase(self.keep_store)?;
        step.done(&removed.join(", "));

        let text = if self.keep_store {
            format!("{name} is gone; its store stays")
        } else {
            format!("{name} is gone")
        };
        progress.result(&text, &json!({ "name": name, "removed": removed }));
        Ok(ExitCode::SUCCESS)
    }

    fn github(&self, record: &Record) -> anyhow::Result<GitHub> {
        let identity = &record.identity;
        let host = identity.server.host_str().unwrap_or("github.com");
        let credential = Credential::find(self.token_file.as_deref(), host)?;
        Ok(GitHub::new(&identity.server, &identity.repository, &credential)?)
    }

    fn remove(
        &self,
        engine: &engine::Cli,
        installation: &Locked,
        record: &Record,
    ) -> anyhow::Result<Vec<String>> {
        let mut removed = Vec::new();
        if engine.inspect(&installation.name)?.is_some() {
            engine.remove(&installation.name)?;
            removed.push(format!("container {}", installation.name));
        }
        let store = engine::store_volume(&installation.name);
        let volumes = [(format!("{}-runner", installation.name), true), (store, !self.keep_store)];
        for (volume, goes) in volumes {
            if goes && engine.has_volume(&volume)? {
                engine.remove_volume(&volume)?;
                removed.push(format!("volume {volume}"));
            }
        }
        let image = format!("{}@{}", record.image.parse::<ImageReference>()?.name(), record.digest);
        let is_another_s = Places::standard().installed().iter().any(|other| {
            other.name != installation.name
                && other.record().ok().flatten().is_some_and(|other| other.digest == record.digest)
        });
        if !self.keep_image && !is_another_s && engine.remove_image(&image)? {
            removed.push(format!("image {}", record.digest.short()));
        }
        removed.push(format!("{}", installation.state.display()));
        Ok(removed)
    }
}

async fn deregister(github: &GitHub, record: &Record) -> anyhow::Result<String> {
    match github.runner(&record.identity.name).await? {
        Some(runner) => {
            github.delete_runner(&runner).await?;
            Ok(format!("runner {} is off the list of {}", runner.id, record.identity.repository))
        }
        None => Ok("GitHub does not know it".to_owned()),
    }
}
