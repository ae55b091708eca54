//! `verify`: an image's name in, its verified digest out.

use std::process::ExitCode;

use serde_json::json;

use crate::{
    config::{FileArgs, ImageSettings, TrustArgs, TrustSettings},
    image::{self, ImageReference, Registry, Resolved},
    progress::{Output, Progress},
    trust::{Policy, Verified},
    value::ImageDigest,
};

/// Check an image's signature and print the digest that may run
///
/// The tag is resolved once; the signature of that digest is checked against the transparency log and the
/// trusted root; the certificate must name the identity and the issuer that you trust. The pinned reference
/// is printed on standard output, ready for `podman run`. Exit code 3: not trusted; 4: registry.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder verify
      Vega's published image, signed by Vega's publish workflow
  vega-builder verify ghcr.io/me/image:v1 \\
    --identity 'https://github.com/me/image/.github/workflows/publish.yml@refs/tags/.*' \\
    --issuer https://token.actions.githubusercontent.com
      an image that your own workflow signs
  podman run --rm \"$(vega-builder verify ghcr.io/me/image:v1 --identity …)\"")]
pub struct Verify {
    /// The image; the configured one unless given
    #[arg(value_name = "IMAGE")]
    reference: Option<String>,
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
        let policy = policy(&settings.trust)?;
        let registry = Registry::of(&image);

        let step = progress.step("resolve", &format!("asking {} for {image}", image.registry()));
        let resolved = registry.resolve().await?;
        step.done(&format!("{image} is {}", resolved.top.digest));

        let step = progress.step("verify", "checking the signature");
        let verified = check(&registry, &resolved, &policy).await?;
        step.done(&summary(&verified));

        let pinned = image.pinned(&resolved.top.digest).to_string();
        progress.result(
            &pinned,
            &json!({
                "image": pinned,
                "digest": resolved.top.digest,
                "platform_digest": verified.value(),
                "evidence": verified.evidence(),
            }),
        );
        Ok(ExitCode::SUCCESS)
    }
}

pub fn policy(trust: &TrustSettings) -> anyhow::Result<Policy> {
    Ok(Policy::new(&trust.identity, &trust.issuer, trust.trusted_root.as_deref())?)
}

/// Fetch the signatures of what was resolved and check them: the one way to a `Verified` digest.
pub async fn check(
    registry: &Registry,
    resolved: &Resolved,
    policy: &Policy,
) -> anyhow::Result<Verified<ImageDigest>> {
    let none = async { Ok::<_, image::Error>(vec![]) };
    let of_platform = async {
        if resolved.is_list() { registry.bundles(&resolved.platform.digest).await } else { none.await }
    };
    let (bundles, platform_bundles) = tokio::try_join!(registry.bundles(&resolved.top.digest), of_platform)?;
    Ok(policy.verify(&resolved.top.digest, &bundles, &resolved.platform.digest, &platform_bundles)?)
}

/// One line of why an image is trusted.
pub fn summary(verified: &Verified<ImageDigest>) -> String {
    let evidence = verified.evidence();
    let logged = evidence.logged.map_or_else(String::new, |time| format!(", logged {time:.0}"));
    format!("signed by {}{logged}", evidence.identity)
}
