use std::time::Duration;

use oci_client::{
    Client,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};

use super::{Error, ImageReference, Manifest, Resolved};
use crate::value::ImageDigest;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const ACCEPTED: &[&str] = &[INDEX, IMAGE, DOCKER_LIST, DOCKER_IMAGE];
/// The layer of a referring manifest that is a Sigstore bundle, whatever its version.
const BUNDLE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";
/// An image has a handful of signatures; a registry that lists thousands wants to keep us busy.
const MOST_REFERRERS: usize = 64;
/// A bundle is some ten kilobytes.
const LARGEST_BUNDLE: i64 = 1 << 20;

/// A registry, for one image's name.
pub struct Registry {
    client: Client,
    image: ImageReference,
    auth: RegistryAuth,
}

impl Registry {
    pub fn of(image: &ImageReference) -> Self {
        let protocol = if image.is_loopback() { ClientProtocol::Http } else { ClientProtocol::Https };
        let client = Client::new(ClientConfig {
            protocol,
            connect_timeout: Some(Duration::from_secs(10)),
            read_timeout: Some(Duration::from_secs(30)),
            user_agent: concat!("vega-builder/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        Self { client, image: image.clone(), auth: RegistryAuth::Anonymous }
    }

    /// Tag → digest, once, and for a manifest list the image of this machine.
    pub async fn resolve(&self) -> Result<Resolved, Error> {
        let top = self.manifest(&self.image).await?;
        let platform = match top.platform_digest(&self.image)? {
            None => top.clone(),
            Some(digest) => {
                let platform = self.manifest(&self.image.pinned(&digest)).await?;
                if platform.platform_digest(&self.image)?.is_some() {
                    let why = "its list names another list where an image must be".to_owned();
                    return Err(Error::Manifest { image: self.image.to_string(), why });
                }
                platform
            }
        };
        let image_id = platform.image_id(&self.image)?;
        Ok(Resolved { top, platform, image_id })
    }

    /// The Sigstore bundles that refer to `subject`, from the referrers API or the fallback tag.
    pub async fn bundles(&self, subject: &ImageDigest) -> Result<Vec<Vec<u8>>, Error> {
        let mut bundles = Vec::new();
        for referrer in self.referrers(subject).await?.into_iter().take(MOST_REFERRERS) {
            // The index's artifactType may say "empty": only the referring manifest itself tells.
            let manifest = match self.manifest(&self.image.pinned(&referrer)).await {
                Ok(manifest) => manifest,
                // Listed still, and cleaned away: it vouches for nothing, and hides nothing.
                Err(Error::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            let Ok(manifest) =
                serde_json::from_slice::<oci_client::manifest::OciImageManifest>(&manifest.bytes)
            else {
                continue;
            };
            for layer in &manifest.layers {
                if layer.media_type.starts_with(BUNDLE_PREFIX) && (0..=LARGEST_BUNDLE).contains(&layer.size) {
                    bundles.push(self.blob(layer).await?);
                }
            }
        }
        Ok(bundles)
    }

    async fn referrers(&self, subject: &ImageDigest) -> Result<Vec<ImageDigest>, Error> {
        self.authenticate(&self.image).await?;
        let pinned = self.image.pinned(subject);
        let index = self
            .client
            .pull_referrers(pinned.inner(), None)
            .await
            .map_err(|error| Error::from_client(&self.image.referrers_tag(subject), &error))?;
        let listed: Vec<ImageDigest> =
            index.manifests.iter().filter_map(|entry| entry.digest.parse().ok()).collect();
        if !listed.is_empty() {
            return Ok(listed);
        }
        // The client takes a refusal of the fallback tag for an empty list: "try later" would read as "unsigned".
        match self.manifest(&self.image.referrers_tag(subject)).await {
            Ok(index) => Ok(digests(&index)),
            Err(Error::NotFound { .. }) => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    async fn manifest(&self, image: &ImageReference) -> Result<Manifest, Error> {
        let (bytes, _) = self
            .client
            .pull_manifest_raw(image.inner(), &self.auth, ACCEPTED)
            .await
            .map_err(|error| Error::from_client(image, &error))?;
        let digest = ImageDigest::of(&bytes);
        match image.digest() {
            Some(wanted) if wanted != digest => {
                Err(Error::Content { image: image.to_string(), why: format!("its digest is {digest}") })
            }
            _ => Ok(Manifest { digest, bytes: bytes.to_vec() }),
        }
    }

    /// A blob whose bytes are those of its descriptor's digest.
    async fn blob(&self, layer: &oci_client::manifest::OciDescriptor) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(usize::try_from(layer.size).unwrap_or_default());
        self.client
            .pull_blob(self.image.inner(), layer, &mut bytes)
            .await
            .map_err(|error| Error::from_client(&self.image, &error))?;
        let digest = ImageDigest::of(&bytes);
        if digest.as_str() != layer.digest {
            let why = format!("blob {} has the digest {digest}", layer.digest);
            return Err(Error::Content { image: self.image.to_string(), why });
        }
        Ok(bytes)
    }

    async fn authenticate(&self, image: &ImageReference) -> Result<(), Error> {
        use oci_client::RegistryOperation::Pull;
        match self.client.auth(image.inner(), &self.auth, Pull).await {
            // Older registries answer /v2/ without a challenge: nothing to do.
            Ok(_) | Err(OciDistributionError::GenericError(_)) => Ok(()),
            Err(error) => Err(Error::from_client(image, &error)),
        }
    }
}

/// What an index lists.
fn digests(index: &Manifest) -> Vec<ImageDigest> {
    #[derive(serde::Deserialize)]
    struct Index {
        manifests: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        digest: String,
    }
    serde_json::from_slice::<Index>(&index.bytes)
        .map(|index| index.manifests.iter().filter_map(|entry| entry.digest.parse().ok()).collect())
        .unwrap_or_default()
}
