//! The image that is installed, verified anew: with the registry's signatures and those that were kept, or the latter
//! alone.

use std::path::Path;

use crate::{
    commands::steps::{
        image::ReadyImage,
        verification::{all_attachments, judge, policy, receipt, rules, summary},
    },
    engine::Cli,
    image::{self, ImageReference, Layout, Manifest, Registry, Resolved},
    installation::{Places, Receipt, Record},
    progress::Progress,
    trust::Vouchers,
};

/// Where the signatures came from.
struct Found {
    resolved: Resolved,
    vouchers: Vouchers,
    /// Why the registry was not asked, or not in full.
    away: Option<image::Error>,
}

/// The installed image as the engine holds it, and whether it was judged by what was kept alone.
pub async fn again(
    record: &Record,
    kept: Option<&Receipt>,
    engine: &Cli,
    progress: &Progress,
) -> anyhow::Result<(ReadyImage, bool)> {
    let policy = policy(rules(&record.trust)?, progress).await?;
    let image = record.image.parse::<ImageReference>()?.pinned(&record.evidence.signed);

    let step = progress.step("verify", &format!("checking {image} again"));
    let found = evidence(&image, record, kept).await?;
    let verified = judge(&policy, &image, &found.resolved, &found.vouchers)?;
    let from = match &found.away {
        None => "with the registry's signatures".to_owned(),
        Some(why) => format!("with the signature that was kept ({why})"),
    };
    step.done(&format!("{}, {from}", summary(&verified)));

    let step = progress.step("image", "looking for it in the engine");
    let (name, digest) = (image.name(), verified.value());
    let local = if let Some(local) = engine.local_image(&name, digest)? {
        Places::standard().renew_image(engine.program(), &name, digest)?;
        local
    } else {
        Places::standard().note_image(engine.program(), &name, digest)?;
        match &record.image_file {
            Some(folder) => engine.load(Layout::new(folder).place(&image)?, &name, digest).await?,
            None => engine.obtain(&name, digest, image.is_loopback()).await?,
        }
    };
    engine.expect_image(&local, &verified, &found.resolved.image_id, &name)?;
    step.done(&format!("{} holds that very image", engine.program()));
    let receipt = receipt(&image, &found.resolved, &verified);
    Ok((ReadyImage { reference: image, verified, local, receipt }, found.away.is_some()))
}

/// The manifests and signatures of what is installed: the registry's and those that were kept, or the latter alone.
async fn evidence(
    image: &ImageReference,
    record: &Record,
    receipt: Option<&Receipt>,
) -> anyhow::Result<Found> {
    let kept = receipt.and_then(|receipt| Some((kept(image, record, receipt)?, receipt.vouchers.clone())));
    let layout = record.image_file.as_deref();
    let asked = ask(image, layout, kept.as_ref().map(|(resolved, _)| resolved)).await;
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

async fn ask(
    image: &ImageReference,
    layout: Option<&Path>,
    kept: Option<&Resolved>,
) -> Result<(Resolved, Vouchers), image::Error> {
    let registry = Registry::of(image, layout)?;
    let resolved = match kept {
        Some(resolved) => resolved.clone(),
        None => registry.resolve().await?,
    };
    let vouchers = all_attachments(&registry, &resolved).await?;
    Ok((resolved, vouchers))
}
