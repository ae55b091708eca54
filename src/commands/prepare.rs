//! `prepare`: the image of an installed runner, verified again before it starts.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use crate::{
    commands::verify::{all_attachments, judge, policy, receipt, rules, summary},
    engine,
    image::{self, ImageReference, Manifest, Registry, Resolved},
    installation::{Places, Receipt, Record},
    progress::{Output, Progress},
    trust::Vouchers,
};

/// Verify an installed runner's image again, before it starts
///
/// The signature of the digest that runs is checked anew, by the same policy and with today's trusted root; the engine's
/// image, and the container's, must be that digest's. When the registry is away, the signature that was kept at the last
/// check is judged in its place; without any signature nothing may start. Exit code 3: not trusted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder prepare
      for the only runner that is installed here
  vega-builder prepare vega-heavy-builds && podman start vega-heavy-builds")]
pub struct Prepare {
    /// The runner's name or its repository, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO")]
    runner: Option<String>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Where the signatures came from.
struct Found {
    resolved: Resolved,
    vouchers: Vouchers,
    /// Why the registry was not asked, or not in full.
    away: Option<image::Error>,
}

impl Prepare {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let installation = Places::standard().find(self.runner.as_deref())?.lock()?;
        let mut record = installation.record()?.context("the record is gone")?;
        let engine = engine::detect(Some(&record.engine))?;
        let policy = policy(rules(&record.trust)?, &progress).await?;
        let image = record.image.parse::<ImageReference>()?.pinned(&record.evidence.signed);

        let step = progress.step("verify", &format!("checking {image} again"));
        let found = evidence(&image, &record, installation.receipt()?.as_ref()).await?;
        let verified = judge(&policy, &image, &found.resolved, &found.vouchers)?;
        let from = match &found.away {
            None => "with the registry's signatures".to_owned(),
            Some(why) => format!("with the signature that was kept ({why})"),
        };
        step.done(&format!("{}, {from}", summary(&verified)));

        let step = progress.step("image", "looking for it in the engine");
        let (name, digest) = (image.name(), verified.value());
        let local = match engine.local_image(&name, digest)? {
            Some(local) => local,
            None => engine.obtain(&name, digest, image.is_loopback()).await?,
        };
        engine.expect_image(&local, &verified, &found.resolved.image_id, &name)?;
        if let Some(container) = engine.inspect(installation.name.as_str())? {
            engine.expect_container(&container.image_id, &local.id, format!("{name}@{digest}"))?;
        }
        step.done(&format!("{} holds that very image", engine.program()));

        installation.save_receipt(&receipt(&image, &found.resolved, &verified))?;
        record.evidence = verified.evidence().clone();
        installation.save(&record)?;
        let text = format!("{} may start: {image} is verified", installation.name);
        progress.result(
            &text,
            &json!({
                "name": installation.name,
                "digest": verified.value(),
                "offline": found.away.is_some(),
                "evidence": verified.evidence(),
            }),
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// The manifests and signatures of what is installed: the registry's and those that were kept, or the latter alone.
async fn evidence(
    image: &ImageReference,
    record: &Record,
    receipt: Option<&Receipt>,
) -> anyhow::Result<Found> {
    let kept = receipt.and_then(|receipt| Some((kept(image, record, receipt)?, receipt.vouchers.clone())));
    let asked = ask(image, kept.as_ref().map(|(resolved, _)| resolved)).await;
    match (asked, kept) {
        (Ok((resolved, new)), kept) => {
            // What counted once goes first, and once: whoever may push could lay a weaker copy before it.
            let (_, old) = kept.unzip();
            let mut vouchers: Vouchers = old.unwrap_or_default();
            vouchers.add(new);
            Ok(Found { resolved, vouchers, away: None })
        }
        (Err(why), Some((resolved, vouchers))) => Ok(Found { resolved, vouchers, away: Some(why) }),
        (Err(why), None) => Err(why.into()),
    }
}

/// What was kept, when it is of the digests that are installed: a file can be written to, a digest cannot.
fn kept(image: &ImageReference, record: &Record, receipt: &Receipt) -> Option<Resolved> {
    let manifest = |text: &str| Manifest::of(text.as_bytes().to_vec());
    let resolved = Resolved::of(image, manifest(&receipt.top), manifest(&receipt.platform)).ok()?;
    let is_installed =
        resolved.top.digest == record.evidence.signed && resolved.platform.digest == record.digest;
    is_installed.then_some(resolved)
}

async fn ask(image: &ImageReference, kept: Option<&Resolved>) -> Result<(Resolved, Vouchers), image::Error> {
    let registry = Registry::of(image)?;
    let resolved = match kept {
        Some(resolved) => resolved.clone(),
        None => registry.resolve().await?,
    };
    let vouchers = all_attachments(&registry, &resolved).await?;
    Ok((resolved, vouchers))
}
