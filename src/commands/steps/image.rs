//! Tag → digest, then its signature checked beside its download.

use std::path::Path;

use super::verification::{check, policy, receipt, rules, summary};
use crate::{
    config::TrustSettings,
    engine::{Cli, LocalImage},
    image::{ImageReference, Layout, Registry, Resolved},
    installation::{Places, Receipt, Record},
    progress::Progress,
    trust::{self, Policy, Verified},
    value::ImageDigest,
};

/// An image that may run, as the engine holds it.
pub struct ReadyImage {
    pub reference: ImageReference,
    pub verified: Verified<ImageDigest>,
    pub local: LocalImage,
    pub receipt: Receipt,
}

/// Who fetches an image, for which engine, and by whose rules.
pub struct Fetch<'a> {
    pub engine: &'a Cli,
    pub trust: &'a TrustSettings,
    /// A layout that holds the image, instead of its registry.
    pub image_file: Option<&'a Path>,
    pub progress: &'a Progress,
    /// What runs here already.
    pub before: Option<&'a Record>,
    /// Whether an older image than that may come.
    pub allow_rollback: bool,
}

impl Fetch<'_> {
    /// A download that ends first waits: only what is verified goes on. When the check fails, the download ends,
    /// and what came of it goes.
    pub async fn image(&self, reference: ImageReference) -> anyhow::Result<ReadyImage> {
        let rules = rules(self.trust)?;
        let registry = Registry::of(&reference, self.image_file)?;

        let step = self.progress.step("resolve", &format!("asking {} for {reference}", reference.registry()));
        let resolving = async { Ok(registry.resolve().await?) };
        let (policy, resolved) = tokio::try_join!(policy(rules, self.progress), resolving)?;
        step.done(&format!("{reference} is {}", resolved.top.digest));

        let both = tokio::try_join!(
            self.verify(&reference, &registry, &resolved, &policy),
            self.pull(&reference, &resolved)
        );
        let (verified, local) = match both {
            Ok(both) => both,
            Err(error) => {
                self.remove_refused(&reference, &resolved);
                return Err(error);
            }
        };
        self.engine.expect_image(&local, &verified, &resolved.image_id, &reference.name())?;
        let receipt = receipt(&reference, &resolved, &verified);
        Ok(ReadyImage { reference, verified, local, receipt })
    }

    async fn verify(
        &self,
        reference: &ImageReference,
        registry: &Registry,
        resolved: &Resolved,
        policy: &Policy,
    ) -> anyhow::Result<Verified<ImageDigest>> {
        let step = self.progress.step("verify", "checking the signature");
        // The image's own word for its platform, beside its signature.
        let platform = async { Ok(registry.expect_platform(resolved).await?) };
        let signature = check(reference, registry, resolved, policy, None);
        let checked = tokio::try_join!(signature, platform).map(|(verified, ())| verified);
        match checked.and_then(|verified| self.expect_no_rollback(reference, verified)) {
            Ok(verified) => {
                step.done(&summary(&verified));
                Ok(verified)
            }
            Err(error) => {
                step.failed(&format!("{error:#}"));
                Err(error)
            }
        }
    }

    /// A tag only moves forward: to an older image, however well signed, it goes back only when somebody says so. Who
    /// names another tag, or a digest, has said so.
    fn expect_no_rollback(
        &self,
        reference: &ImageReference,
        verified: Verified<ImageDigest>,
    ) -> anyhow::Result<Verified<ImageDigest>> {
        let same_name = |before: &&Record| before.image == reference.to_string();
        let Some(before) = self.before.filter(same_name) else { return Ok(verified) };
        if self.allow_rollback || !verified.evidence().may_be_older_than(&before.evidence) {
            return Ok(verified);
        }
        let (image, new, old) = (reference.to_string(), verified.evidence().age(), before.evidence.age());
        Err(trust::Error::Rollback { image, new, old }.into())
    }

    async fn pull(&self, reference: &ImageReference, resolved: &Resolved) -> anyhow::Result<LocalImage> {
        let (name, digest) = (reference.name(), resolved.platform.digest.clone());
        let step = self.progress.step("pull", &format!("downloading {name}"));
        if let Some(local) = self.local_image(&name, &digest).await? {
            Places::standard().renew_image(self.engine.program(), &name, &digest)?;
            step.done("the image is here already");
            return Ok(local);
        }
        Places::standard().note_image(self.engine.program(), &name, &digest)?;
        let local = match self.image_file {
            Some(folder) => {
                let layout = Layout::new(folder);
                let local = self.engine.load(layout.place(reference)?, &name, &digest).await?;
                step.done(&format!("taken from {}", folder.display()));
                return Ok(local);
            }
            None => self.engine.obtain(&name, &digest, reference.is_loopback()).await?,
        };
        step.done("downloaded by digest");
        Ok(local)
    }

    /// In a thread of its own, because the signature's check goes on beside it.
    async fn local_image(&self, name: &str, digest: &ImageDigest) -> anyhow::Result<Option<LocalImage>> {
        let (engine, name, digest) = (self.engine.clone(), name.to_owned(), digest.clone());
        Ok(tokio::task::spawn_blocking(move || engine.local_image(&name, &digest)).await??)
    }

    /// What was refused is not left on the disk, unless a container of ours was made of it while it was trusted.
    fn remove_refused(&self, reference: &ImageReference, resolved: &Resolved) {
        let digest = &resolved.platform.digest;
        if self.before.is_none_or(|before| before.digest != *digest) {
            let _ = self.engine.remove_image(&format!("{}@{digest}", reference.name()));
        }
    }
}
