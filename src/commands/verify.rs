//! `verify`: an image's name in, its verified digest out.

use std::process::ExitCode;

use serde_json::json;

use super::steps::verification::{check, policy, rules, summary};
use crate::{
    config::{FileArgs, ImageSettings, TrustArgs},
    image::{ImageReference, Registry},
    progress::{Output, Progress, printable},
    trust::{self, Link, is_signature},
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
        let rules = rules(&settings.trust)?;
        let registry = Registry::of(&image, settings.image_file.as_deref())?;

        let step = progress.step("resolve", &format!("asking {} for {image}", image.registry()));
        // Whoever names a digest names what its signatures refer to: all questions at once.
        let early = async {
            match image.digest() {
                Some(digest) => Ok(Some(registry.attachments(&digest, is_signature).await?)),
                None => Ok(None),
            }
        };
        let resolving = async { Ok(registry.resolve().await?) };
        let (policy, resolved, early) = tokio::try_join!(policy(rules, &progress), resolving, early)?;
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
