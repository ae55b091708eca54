//! Tag → digest, then its signature checked beside its download.

use super::Up;
use crate::{
    commands::verify::{check, policy, summary},
    engine::{self, Layout, LocalImage},
    image::{ImageReference, Registry, Resolved},
    trust::{Policy, Verified},
    value::ImageDigest,
};

/// An image that may run, as the engine holds it.
pub(super) struct ReadyImage {
    pub reference: ImageReference,
    pub verified: Verified<ImageDigest>,
    pub image_id: ImageDigest,
    pub layout: Layout,
}

impl Up<'_> {
    /// Tag → digest, then its signature checked beside its download. A download that ends first waits:
    /// only what is verified goes on.
    pub(super) async fn image(&self, reference: ImageReference) -> anyhow::Result<ReadyImage> {
        let policy = policy(&self.settings.trust)?;
        let registry = Registry::of(&reference);

        let step = self.progress.step("resolve", &format!("asking {} for {reference}", reference.registry()));
        let resolved = registry.resolve().await?;
        step.done(&format!("{reference} is {}", resolved.top.digest));

        let (verified, local) =
            tokio::try_join!(self.verify(&registry, &resolved, &policy), self.pull(&reference, &resolved))?;
        self.engine.expect_image(&local, &verified, &resolved.image_id, &reference.name())?;
        Ok(ReadyImage { reference, verified, image_id: resolved.image_id, layout: local.layout })
    }

    async fn verify(
        &self,
        registry: &Registry,
        resolved: &Resolved,
        policy: &Policy,
    ) -> anyhow::Result<Verified<ImageDigest>> {
        let step = self.progress.step("verify", "checking the signature");
        let verified = check(registry, resolved, policy).await?;
        step.done(&summary(&verified));
        Ok(verified)
    }

    /// Beside the signature's check, so in a thread of its own.
    async fn pull(&self, reference: &ImageReference, resolved: &Resolved) -> anyhow::Result<LocalImage> {
        let (name, digest) = (reference.name(), resolved.platform.digest.clone());
        let (engine, loopback) = (self.engine.clone(), reference.is_loopback());
        let step = self.progress.step("pull", &format!("downloading {name}"));
        let work = move || -> Result<_, engine::Error> {
            if let Some(local) = engine.local_image(&name, &digest)? {
                return Ok((local, "the image is here already"));
            }
            engine.pull(&name, &digest, loopback)?;
            engine.local_image(&name, &digest)?.map(|local| (local, "downloaded by digest")).ok_or_else(
                || {
                    let why = "the engine lost the image that it downloaded".to_owned();
                    engine::Error::Failed { command: format!("{} pull", engine.program()), why }
                },
            )
        };
        let (local, how) = tokio::task::spawn_blocking(work).await??;
        step.done(how);
        Ok(local)
    }
}
