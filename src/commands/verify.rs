//! `verify`: an image's name in, its verified digest out.

use std::process::ExitCode;

use serde_json::json;

use crate::{
    config::{FileArgs, ImageSettings, PublisherSettings, TrustArgs, TrustSettings},
    image::{self, ImageReference, Registry, Resolved},
    installation::{Places, Receipt},
    progress::{Output, Progress, printable},
    trust::{
        self, Candidate, GITHUB_ISSUER, Link, Policy, Publisher, Root, RootChoice, Rules, Verified, Vouchers,
        is_signature,
    },
    value::{Attachment, ImageDigest},
};

/// Check an image's signature and print the digest that may run
///
/// The tag is resolved once; the signature of that digest is checked against the transparency log and the
/// trusted root; it must be a publisher's whom you trust, and meet the rest of the policy (trust.toml). The pinned
/// reference is printed on standard output, ready for `podman run`. Exit code 3: not trusted; 4: registry.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder verify
      Vega's published image, signed by Vega's publish workflow
  vega-builder verify ghcr.io/me/image:v1 \\
    --identity 'https://github.com/me/image/.github/workflows/publish.yml@refs/tags/.*' \\
    --issuer https://token.actions.githubusercontent.com
      an image that your own workflow signs
  vega-builder verify --explain ghcr.io/me/image:v1 --key cosign.pub
      why it is trusted: tag, digest, signature, key or certificate, log, root
  podman run --rm \"$(vega-builder verify ghcr.io/me/image:v1 --identity …)\"")]
pub struct Verify {
    /// The image; the configured one unless given
    #[arg(value_name = "IMAGE")]
    reference: Option<String>,
    /// Say why it is trusted, link by link, instead of the pinned reference alone
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    trust: TrustArgs,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Verify {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let settings = ImageSettings::resolve(&self.file, &self.trust, self.reference.as_deref())?;
        let image: ImageReference = settings.image.parse()?;
        let policy = policy(&settings.trust, &progress).await?;
        let registry = Registry::of(&image)?;

        let step = progress.step("resolve", &format!("asking {} for {image}", image.registry()));
        // Whoever names a digest names what its signatures refer to: all questions at once.
        let (resolved, early) = match image.digest() {
            Some(digest) => {
                let both = tokio::try_join!(registry.resolve(), registry.attachments(&digest, is_signature))?;
                (both.0, Some(both.1))
            }
            None => (registry.resolve().await?, None),
        };
        step.done(&format!("{image} is {}", resolved.top.digest));

        let step = progress.step("verify", "checking the signature");
        // An image of another machine may be verified here; a list must not lie about this one.
        let honest = async {
            if resolved.is_list() { Ok(registry.expect_platform(&resolved).await?) } else { Ok(()) }
        };
        let (verified, ()) = tokio::try_join!(check(&image, &registry, &resolved, &policy, early), honest)?;
        step.done(&summary(&verified));

        let pinned = image.pinned(&resolved.top.digest).to_string();
        let chain = trust::chain(&image.to_string(), verified.value(), verified.evidence());
        let text = if self.explain { explain(&pinned, &chain) } else { pinned.clone() };
        progress.result(
            &text,
            &json!({
                "image": pinned,
                "digest": resolved.top.digest,
                "platform_digest": verified.value(),
                "evidence": verified.evidence(),
                "chain": chain,
            }),
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// The chain as one screen.
fn explain(pinned: &str, chain: &[Link]) -> String {
    let lines = chain.iter().flat_map(|link| {
        let names = std::iter::once(link.link).chain(std::iter::repeat(""));
        names.zip(&link.says).map(|(name, line)| format!("{name:12} {}", printable(line)))
    });
    lines.chain([format!("{:12} {pinned}", "may run")]).collect::<Vec<_>>().join("\n")
}

/// Whose images may run: the settings' own publisher, or the policy's.
pub async fn policy(settings: &TrustSettings, progress: &Progress) -> anyhow::Result<Policy> {
    let mut rules = settings.policy.as_deref().map(Rules::read).transpose()?.unwrap_or_default();
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
    match judge(policy, image, resolved, &vouchers) {
        // The older form, which nobody writes any more, is looked for when it alone can help.
        Err(
            trust::Error::Unsigned { .. }
            | trust::Error::Refused { .. }
            | trust::Error::PlatformRefused { .. },
        ) => {
            let older = older_attachments(registry, resolved).await?;
            vouchers.top.extend(older.top);
            vouchers.platform.extend(older.platform);
            Ok(judge(policy, image, resolved, &vouchers)?)
        }
        judged => Ok(judged?),
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
    all.top.extend(older.top);
    all.platform.extend(older.platform);
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
