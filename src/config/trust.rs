//! The image, and whose signature it must have.

use std::path::PathBuf;

use super::{
    args::{FileArgs, TrustArgs},
    file,
    layer::{Error, Layers},
    settings::{VEGA_IMAGE, lasting, layers, text_or},
};

/// Whose signature is trusted. It is kept with an installation, so that every later check asks the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TrustSettings {
    /// Instead of the policy's publishers.
    pub publisher: Option<PublisherSettings>,
    /// The policy file, when there is one.
    pub policy: Option<PathBuf>,
    pub trusted_root: Option<PathBuf>,
}

/// The one publisher that the settings name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublisherSettings {
    Workflow { identity: String, issuer: Option<String> },
    Key(PathBuf),
}

/// An image and whose signature it must have: all that `verify` needs.
#[derive(Debug, Clone)]
pub struct ImageSettings {
    pub image: String,
    pub image_file: Option<PathBuf>,
    pub trust: TrustSettings,
}

impl ImageSettings {
    /// `image` wins over what is configured.
    pub fn resolve(file: &FileArgs, trust: &TrustArgs, image: Option<&str>) -> Result<Self, Error> {
        let layers = layers(trust.layer(), file)?;
        let image = image.map_or_else(|| text_or(&layers, "image", VEGA_IMAGE), str::to_owned);
        Ok(Self { image, image_file: lasting(&layers, "image-file"), trust: trust_of(&layers)? })
    }
}

pub(super) fn trust_of(layers: &Layers) -> Result<TrustSettings, Error> {
    let given = |key| layers.get(key);
    let publisher = match (given("trust.identity"), given("trust.key"), given("trust.issuer")) {
        (Some(identity), Some(key), _) => {
            let why = format!("a key and an identity ({}) are given; leave one of them out", identity.origin);
            return Err(Error::value(&key.origin, why));
        }
        (None, _, Some(issuer)) => {
            return Err(Error::value(
                &issuer.origin,
                "an issuer is nobody without an identity; give that too",
            ));
        }
        (Some(identity), None, issuer) => {
            regex::bytes::RegexBuilder::new(&identity.text)
                .unicode(false)
                .build()
                .map_err(|why| Error::value(&identity.origin, format!("not a regular expression: {why}")))?;
            let issuer = issuer.map(|given| given.text.clone());
            Some(PublisherSettings::Workflow { identity: identity.text.clone(), issuer })
        }
        (None, Some(_), None) => lasting(layers, "trust.key").map(PublisherSettings::Key),
        (None, None, None) => None,
    };
    Ok(TrustSettings {
        publisher,
        policy: lasting(layers, "trust.policy").or_else(file::trust_policy),
        trusted_root: lasting(layers, "trust.trusted-root"),
    })
}
