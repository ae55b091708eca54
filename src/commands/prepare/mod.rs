//! `prepare`: the image of an installed runner, verified again before it starts.

mod again;
mod declared;
mod host;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use serde_json::json;

pub use self::{again::again, declared::Start};
use super::{
    steps::{image::ReadyImage, pruning::prune_images},
    update::recover,
};
use crate::{
    engine::{self, Status},
    installation::{Installation, Locked, Places},
    progress::{Output, Progress},
};

/// Verify an installed runner's image again, before it starts
///
/// The signature of the digest that runs is checked anew, by the same policy and with today's trusted root; the engine's
/// image, and the container's, must be that digest's. When the registry is away, the signature that was kept at the last
/// check is judged in its place; without any signature nothing may start. Exit code 3: not trusted.
///
/// For a runner whose container a unit makes (`install`, NixOS) it also gives the verified image the local name that the
/// unit runs, brings the store up to it, and, where the unit has a credential and no registration is saved, mints a
/// registration token.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder prepare
      for the only runner that is installed here
  vega-builder prepare vega-heavy-builds && podman start vega-heavy-builds")]
pub struct Prepare {
    /// The runner's name, its repository or its organisation, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    runner: Option<String>,
    /// Only fetch and verify what a unit will run next; what runs now is not touched
    #[arg(long)]
    ahead: bool,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// A unit is started by whom a command of ours still runs for, which ends soon.
const PATIENCE: Duration = Duration::from_secs(60);

impl Prepare {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let installation = Places::standard().find(self.runner.as_deref())?;
        if is_of_a_unit() && !installation.is_declared() && runs(&installation)? {
            // `up` has only just proved it, and its unit stands for it from now on.
            let result = json!({ "name": installation.name });
            progress.result(&format!("{} runs already", installation.name), &result);
            return Ok(ExitCode::SUCCESS);
        }
        let installation = installation.lock_patiently(PATIENCE)?;
        if !self.ahead {
            installation.expect_not_drained()?;
        }
        if installation.is_declared() {
            return Box::pin(declared::prepare(&installation, &progress, self.ahead)).await;
        }
        let name = &installation.name;
        let (image, offline) = installed(&installation, &progress).await?;
        if let Some(record) = installation.record()? {
            prune_images(&engine::detect(Some(&record.engine))?, &progress);
        }
        progress.result(
            &format!("{name} may start: {} is verified", image.reference),
            &json!({
                "name": name,
                "digest": image.verified.value(),
                "offline": offline,
                "evidence": image.verified.evidence(),
            }),
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// For a container that is there already: the image, and whether what was kept alone vouches for it.
pub async fn installed(installation: &Locked, progress: &Progress) -> anyhow::Result<(ReadyImage, bool)> {
    let mut record = installation.record()?.context("the record is gone")?;
    let engine = engine::detect(Some(&record.engine))?;
    recover(&engine, installation, &record)?;
    let (image, offline) = again(&record, installation.receipt()?.as_ref(), &engine, progress).await?;
    if let Some(container) = engine.inspect(installation.name.as_str())? {
        let pinned = format!("{}@{}", image.reference.name(), image.verified.value());
        engine.expect_container(&container.image_id, &image.local.id, pinned)?;
    }
    if let Some(pusher) = engine.inspect(&engine::pusher_name(&installation.name))? {
        let pinned = format!("{}@{}", image.reference.name(), image.verified.value());
        engine.expect_container(&pusher.image_id, &image.local.id, pinned)?;
    }
    installation.save_receipt(&image.receipt)?;
    record.evidence = image.verified.evidence().clone();
    installation.save(&record)?;
    Ok((image, offline))
}

/// Whether the container that the record tells of runs.
fn runs(installation: &Installation) -> anyhow::Result<bool> {
    let record = installation.record()?.context("the record is gone")?;
    let found = engine::detect(Some(&record.engine))?.inspect(installation.name.as_str())?;
    Ok(found.is_some_and(|found| found.status == Status::Running && found.image_id == record.local_id))
}

/// Whether systemd itself started this very process.
fn is_of_a_unit() -> bool {
    let told = std::env::var("SYSTEMD_EXEC_PID").ok().and_then(|pid| pid.parse::<u32>().ok());
    told == Some(std::process::id())
}
