//! Manifests and manifest lists, as far as running a verified image needs them.

use std::collections::BTreeMap;

use oci_spec::image::{ImageIndex, ImageManifest};

use super::{Error, ImageReference};
use crate::value::ImageDigest;

/// A manifest whose bytes are those of its digest.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub digest: ImageDigest,
    pub bytes: Vec<u8>,
}

/// What a reference means for one platform: the digest it points at, and the image to run.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What the tag (or the given digest) names: a manifest list, or the image itself.
    pub top: Manifest,
    /// The image for this machine: named by the list, or the same as `top`.
    pub platform: Manifest,
    /// The digest of the image's configuration: what podman and docker call the image's id.
    pub image_id: ImageDigest,
}

impl Resolved {
    /// What `top` means on this machine, where `platform` is the image that it names.
    pub fn of(image: &ImageReference, top: Manifest, platform: Manifest) -> Result<Self, Error> {
        let refuse = |why: &str| Error::Manifest { image: image.to_string(), why: why.to_owned() };
        match top.platform_digest(image)? {
            Some(named) if named != platform.digest => {
                return Err(refuse("its list names another image for this machine"));
            }
            None if top.digest != platform.digest => {
                return Err(refuse("it is no list, and yet another image"));
            }
            Some(_) if platform.platform_digest(image)?.is_some() => {
                return Err(refuse("its list names another list where an image must be"));
            }
            _ => {}
        }
        let image_id = platform.image_id(image)?;
        Ok(Self { top, platform, image_id })
    }

    pub fn is_list(&self) -> bool {
        self.top.digest != self.platform.digest
    }
}

/// One entry of an index of referrers.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    pub digest: String,
    #[serde(default)]
    artifact_type: Option<String>,
}

impl Listed {
    /// What an index lists; what is no index lists nothing.
    pub fn of(index: &[u8]) -> Vec<Self> {
        #[derive(serde::Deserialize)]
        struct Index {
            manifests: Vec<Listed>,
        }
        serde_json::from_slice::<Index>(index).map_or_else(|_| vec![], |index| index.manifests)
    }

    /// One of which nothing is known but where it is.
    pub fn named(digest: String) -> Self {
        Self { digest, artifact_type: None }
    }

    pub fn is_bundle(&self) -> bool {
        self.artifact_type.as_deref().is_some_and(|kind| kind.starts_with("application/vnd.dev.sigstore."))
    }
}

/// The layers of a manifest that refers to an image.
#[derive(Debug, serde::Deserialize)]
pub struct Layers {
    pub layers: Vec<Descriptor>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The machine's architecture in the words of OCI images.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Manifest {
    /// A manifest that was kept, by its bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { digest: ImageDigest::of(&bytes), bytes }
    }

    /// The digest of this machine's image when these bytes are a manifest list; `None` when they are an image.
    pub fn platform_digest(&self, image: &ImageReference) -> Result<Option<ImageDigest>, Error> {
        #[derive(serde::Deserialize)]
        struct Shape {
            manifests: Option<serde_json::Value>,
            layers: Option<serde_json::Value>,
        }
        let refuse = |why: String| Error::Manifest { image: image.to_string(), why };
        let shape: Shape =
            serde_json::from_slice(&self.bytes).map_err(|why| refuse(format!("not a manifest: {why}")))?;
        match (shape.manifests, shape.layers) {
            (Some(_), Some(_)) => Err(refuse("it is a list and an image at once".to_owned())),
            (None, _) => Ok(None),
            (Some(_), None) => self.listed(image).map(Some),
        }
    }

    fn listed(&self, image: &ImageReference) -> Result<ImageDigest, Error> {
        let refuse = |why: String| Error::Manifest { image: image.to_string(), why };
        let index: ImageIndex = serde_json::from_slice(&self.bytes)
            .map_err(|why| refuse(format!("not a manifest list: {why}")))?;
        let mut has = Vec::new();
        for entry in index.manifests() {
            let Some(platform) = entry.platform() else { continue };
            if platform.os().to_string() == "linux" && platform.architecture().to_string() == architecture() {
                return entry.digest().to_string().parse().map_err(|why| refuse(format!("{why}")));
            }
            has.push(format!("{}/{}", platform.os(), platform.architecture()));
        }
        Err(Error::Platform { image: image.to_string(), platform: format!("linux/{}", architecture()), has })
    }

    /// The digest of the image's configuration.
    pub fn image_id(&self, image: &ImageReference) -> Result<ImageDigest, Error> {
        let refuse = |why: String| Error::Manifest { image: image.to_string(), why };
        let manifest: ImageManifest = serde_json::from_slice(&self.bytes)
            .map_err(|why| refuse(format!("not an image's manifest: {why}")))?;
        manifest.config().digest().to_string().parse().map_err(|why| refuse(format!("{why}")))
    }
}
