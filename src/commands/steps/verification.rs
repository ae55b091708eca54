//! The steps of a verification, which end in a `Verified` digest.

use crate::{
    config::{self, PublisherSettings, TrustSettings},
    image::{self, ImageReference, Registry, Resolved},
    installation::{Places, Receipt},
    progress::Progress,
    trust::{
        self, Candidate, GITHUB_ISSUER, Policy, Publisher, Root, RootChoice, Rules, Verified, Vouchers,
        is_signature,
    },
    value::{Attachment, ImageDigest},
};

/// What is demanded of an image: by the policy's file, with the settings' own publisher and root in the place of its.
pub fn rules(settings: &TrustSettings) -> Result<Rules, trust::Error> {
    // A policy that was written after the installation counts as well.
    let file = settings.policy.clone().or_else(config::trust_policy);
    let mut rules = file.as_deref().map(Rules::read).transpose()?.unwrap_or_default();
    if let Some(publisher) = &settings.publisher {
        rules.publishers = vec![match publisher {
            PublisherSettings::Key(file) => Publisher::key("the settings' key", file)?,
            PublisherSettings::Workflow { identity, issuer } => {
                let issuer = issuer.as_deref().unwrap_or(GITHUB_ISSUER);
                Publisher::workflow("the settings' identity", identity, issuer)?
            }
        }];
    }
    if let Some(file) = &settings.trusted_root {
        rules.root = RootChoice { file: Some(file.clone()), ..RootChoice::default() };
    }
    Ok(rules)
}

/// The rules with the trusted root that they name, which may be asked for.
pub async fn policy(rules: Rules, progress: &Progress) -> anyhow::Result<Policy> {
    let (root, complaint) = Root::chosen(&rules.root, &Places::standard().cache).await?;
    if let Some(complaint) = complaint {
        progress.note(&complaint);
    }
    Ok(Policy::new(rules, root))
}

/// Fetch the signatures of what was resolved (those of its top may be here `early`) and check them: the one way to a
/// `Verified` digest.
pub async fn check(
    image: &ImageReference,
    registry: &Registry,
    resolved: &Resolved,
    policy: &Policy,
    early: Option<Vec<Attachment>>,
) -> anyhow::Result<Verified<ImageDigest>> {
    let mut vouchers = attachments(registry, resolved, early).await?;
    let refused = match judge(policy, image, resolved, &vouchers) {
        Ok(verified) => return Ok(verified),
        Err(refused) => refused,
    };
    // The older form, which nobody writes any more, is looked for when it alone can help.
    match older_attachments(registry, resolved).await {
        Ok(older) => {
            vouchers.add(older);
            Ok(judge(policy, image, resolved, &vouchers)?)
        }
        // "Try later" is not "unsigned"; but it does not hide why what is there is refused.
        Err(why) if matches!(refused, trust::Error::Unsigned { .. }) => Err(why.into()),
        Err(_) => Err(refused.into()),
    }
}

/// Judge an image by what vouches for it.
pub fn judge(
    policy: &Policy,
    image: &ImageReference,
    resolved: &Resolved,
    vouchers: &Vouchers,
) -> Result<Verified<ImageDigest>, trust::Error> {
    policy.verify(Candidate {
        name: &image.name(),
        top: &resolved.top.digest,
        attachments: &vouchers.top,
        platform: &resolved.platform.digest,
        platform_attachments: &vouchers.platform,
    })
}

/// Every bundle in the registry that may vouch for what was resolved.
async fn attachments(
    registry: &Registry,
    resolved: &Resolved,
    early: Option<Vec<Attachment>>,
) -> Result<Vouchers, image::Error> {
    let of_top = async {
        match early {
            Some(early) => Ok(early),
            None => registry.attachments(&resolved.top.digest, is_signature).await,
        }
    };
    let of_platform = async {
        if !resolved.is_list() {
            return Ok(vec![]);
        }
        registry.attachments(&resolved.platform.digest, is_signature).await
    };
    let (top, platform) = tokio::try_join!(of_top, of_platform)?;
    Ok(Vouchers { top, platform })
}

/// The same for cosign 2's form.
async fn older_attachments(registry: &Registry, resolved: &Resolved) -> Result<Vouchers, image::Error> {
    let of_platform = async {
        if !resolved.is_list() {
            return Ok(vec![]);
        }
        registry.older_attachments(&resolved.platform.digest, is_signature).await
    };
    let of_top = registry.older_attachments(&resolved.top.digest, is_signature);
    let (top, platform) = tokio::try_join!(of_top, of_platform)?;
    Ok(Vouchers { top, platform })
}

/// All that the registry has for what was resolved, in both forms.
pub async fn all_attachments(registry: &Registry, resolved: &Resolved) -> Result<Vouchers, image::Error> {
    let (mut all, older) =
        tokio::try_join!(attachments(registry, resolved, None), older_attachments(registry, resolved))?;
    all.add(older);
    Ok(all)
}

/// What was verified, to be kept beside what runs.
pub fn receipt(image: &ImageReference, resolved: &Resolved, verified: &Verified<ImageDigest>) -> Receipt {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Receipt {
        image: image.pinned(&resolved.top.digest).to_string(),
        top: text(&resolved.top.bytes),
        platform: text(&resolved.platform.bytes),
        vouchers: verified.vouchers().clone(),
        evidence: verified.evidence().clone(),
    }
}

/// One line of why an image is trusted.
pub fn summary(verified: &Verified<ImageDigest>) -> String {
    let evidence = verified.evidence();
    let time = evidence.signed_at().map_or_else(String::new, |time| format!(", {time:.0}"));
    format!("signed by {}{time}", evidence.signer())
}
