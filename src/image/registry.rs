//! A registry, asked about one image: what its tag means, and what refers to it.

use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::header::LINK;
use url::Url;

use super::{
    Error, ImageReference, Layout, Manifest, Resolved,
    manifest::{Descriptor, Layers, Listed, architecture},
    transport::{Answer, Transport},
};
use crate::value::{Attachment, ImageDigest};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// What every registry must take, and so the most that one may send (distribution specification, "Pushing
/// Manifests").
pub(super) const LARGEST_MANIFEST: usize = 4 << 20;
/// A bundle is some ten kilobytes, a configuration of an image with hundreds of layers some hundred.
const LARGEST_BLOB: usize = 1 << 20;
/// An image has a handful of signatures; a registry that lists thousands wants to keep us busy.
const MOST_REFERRERS: usize = 64;
const MOST_PAGES: usize = 16;
/// A bundle's manifest has one layer, cosign 2's one a signature.
const MOST_LAYERS: usize = 16;
/// Requests under way at once.
const AT_ONCE: usize = 8;

/// Whether a layer of this media type is looked at.
type Wanted = fn(&str) -> bool;

/// A registry, for one image's name.
pub struct Registry {
    source: Source,
    image: ImageReference,
}

enum Source {
    Network(Box<Transport>),
    /// A layout on this machine stands in for it.
    Layout(Layout),
}

impl Registry {
    /// The image's own registry; or a layout that holds what it would.
    pub fn of(image: &ImageReference, layout: Option<&Path>) -> Result<Self, Error> {
        let source = match layout {
            Some(folder) => Source::Layout(Layout::new(folder)),
            None => Source::Network(Box::new(Transport::to(image)?)),
        };
        Ok(Self { source, image: image.clone() })
    }

    /// Tag → digest, once, and for a manifest list the image of this machine.
    pub async fn resolve(&self) -> Result<Resolved, Error> {
        let top = self.manifest(&self.image).await?;
        let platform = match top.platform_digest(&self.image)? {
            None => top.clone(),
            Some(digest) => self.manifest(&self.image.pinned(&digest)).await?,
        };
        Resolved::of(&self.image, top, platform)
    }

    /// The image's own word for its platform must be this machine's: a list can say what it likes.
    pub async fn expect_platform(&self, resolved: &Resolved) -> Result<(), Error> {
        #[derive(serde::Deserialize)]
        struct Configuration {
            os: String,
            architecture: String,
        }
        let refuse = |why: String| Error::Manifest { image: self.image.to_string(), why };
        let bytes = self.blob(&resolved.image_id).await?;
        let own: Configuration = serde_json::from_slice(&bytes)
            .map_err(|why| refuse(format!("its configuration cannot be read: {why}")))?;
        if own.os == "linux" && own.architecture == architecture() {
            return Ok(());
        }
        let has = format!("{}/{}", own.os, own.architecture);
        if resolved.is_list() {
            let why = format!("its list names {has} as the image for linux/{}", architecture());
            return Err(Error::Content { image: self.image.to_string(), why });
        }
        let platform = format!("linux/{}", architecture());
        Err(Error::Platform { image: self.image.to_string(), platform, has: vec![has] })
    }

    /// What refers to `subject`: the layers of a `wanted` media type of every manifest that the referrers API and the
    /// fallback tag name.
    pub async fn attachments(&self, subject: &ImageDigest, wanted: Wanted) -> Result<Vec<Attachment>, Error> {
        let (referrers, cut) = self.referrers(subject).await?;
        let manifests = stream::iter(referrers.into_iter().map(|digest| async move {
            // Listed still, and cleaned away: it vouches for nothing, and hides nothing.
            self.optional(&self.image.pinned(&digest)).await
        }));
        let manifests: Vec<_> = manifests.buffered(AT_ONCE).try_collect().await?;
        let mut found = self.layers(manifests.into_iter().flatten(), wanted).await?;
        if cut {
            found.insert(0, too_many());
        }
        Ok(found)
    }

    /// The layers of what is at cosign 2's `.sig` tag of `subject`.
    pub async fn older_attachments(
        &self,
        subject: &ImageDigest,
        wanted: Wanted,
    ) -> Result<Vec<Attachment>, Error> {
        let manifest = self.optional(&self.image.signature_tag(subject)).await?;
        self.layers(manifest.into_iter(), wanted).await
    }

    async fn layers(
        &self,
        manifests: impl Iterator<Item = Manifest>,
        wanted: Wanted,
    ) -> Result<Vec<Attachment>, Error> {
        let layers = manifests.flat_map(|manifest| {
            // What is no image manifest has no layers: it is none of the forms that are known.
            let read = serde_json::from_slice::<Layers>(&manifest.bytes);
            read.map_or_else(|_| vec![], |read| read.layers).into_iter().take(MOST_LAYERS)
        });
        let mut layers: Vec<_> = layers.filter(|layer| wanted(&layer.media_type)).collect();
        let cut = layers.len() > MOST_REFERRERS;
        layers.truncate(MOST_REFERRERS);
        let fetched = stream::iter(layers.into_iter().map(|layer| self.attachment(layer)));
        let mut fetched: Vec<_> = fetched.buffered(AT_ONCE).try_collect().await?;
        if cut {
            fetched.insert(0, too_many());
        }
        Ok(fetched)
    }

    /// One that cannot be read is no error: anybody who may push can name a blob that is too large, or gone.
    async fn attachment(&self, layer: Descriptor) -> Result<Attachment, Error> {
        let unreadable = |why: &str| Ok(Attachment::unreadable(&layer.media_type, why));
        let Ok(digest) = layer.digest.parse() else { return unreadable("a signature's digest is none") };
        if layer.size > LARGEST_BLOB as u64 {
            return unreadable("a signature is larger than any could be");
        }
        match self.blob(&digest).await {
            Ok(bytes) => Ok(Attachment {
                text: String::from_utf8_lossy(&bytes).into_owned(),
                annotations: layer.annotations.unwrap_or_default(),
                media_type: layer.media_type,
                fault: None,
            }),
            Err(error @ (Error::NotFound { .. } | Error::Content { .. })) => {
                unreadable(&format!("a signature cannot be read: {}", error.cause()))
            }
            Err(error) => Err(error),
        }
    }

    /// The digests of what refers to `subject`, bundles first, and whether there are more than are looked at.
    async fn referrers(&self, subject: &ImageDigest) -> Result<(Vec<ImageDigest>, bool), Error> {
        let fallback = self.image.referrers_tag(subject);
        // Both at once: most registries have one of them, and a registry that learned the API may still hold what was
        // written before.
        let (api, tag) = tokio::try_join!(self.referrers_api(subject), self.optional(&fallback))?;
        let mut listed = api;
        if let Some(index) = tag {
            listed.extend(Listed::of(&index.bytes));
        }
        // The index's artifactType may say "empty" of a bundle, so the others are looked at too.
        listed.sort_by_key(|entry| !entry.is_bundle());
        let mut digests: Vec<ImageDigest> = Vec::new();
        for digest in listed.iter().filter_map(|entry| entry.digest.parse().ok()) {
            if digests.contains(&digest) {
                continue;
            }
            if digests.len() == MOST_REFERRERS {
                return Ok((digests, true));
            }
            digests.push(digest);
        }
        Ok((digests, false))
    }

    /// Every page of the referrers API; nothing where a registry has none.
    async fn referrers_api(&self, subject: &ImageDigest) -> Result<Vec<Listed>, Error> {
        let transport = match &self.source {
            Source::Layout(layout) => return layout.referrers(&self.image, subject, LARGEST_MANIFEST),
            Source::Network(transport) => transport,
        };
        let mut address = transport.address(&format!("referrers/{subject}"))?;
        let mut listed = Vec::new();
        for _ in 0..MOST_PAGES {
            let answer = match transport.get(&address, INDEX, LARGEST_MANIFEST).await {
                Ok(answer) => answer,
                Err(error) if error.is_unknown_call() => break,
                Err(error) => return Err(error),
            };
            listed.extend(Listed::of(&answer.body));
            match next_page(&address, &answer) {
                // Another host is asked nothing: the login goes with each question.
                Some(next) if next.origin() == address.origin() && listed.len() < MOST_REFERRERS => {
                    address = next;
                }
                _ => break,
            }
        }
        Ok(listed)
    }

    /// A manifest that may not be there.
    async fn optional(&self, image: &ImageReference) -> Result<Option<Manifest>, Error> {
        match self.manifest(image).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A manifest whose bytes are those of its digest, and of the digest that the registry announces.
    async fn manifest(&self, image: &ImageReference) -> Result<Manifest, Error> {
        let (body, announced) = match &self.source {
            Source::Layout(layout) => {
                let (body, named) = layout.manifest(image, LARGEST_MANIFEST)?;
                (body, Some(named))
            }
            Source::Network(transport) => {
                let address = transport.address(&format!("manifests/{}", image.tag_or_digest()))?;
                let answer = transport.get(&address, MANIFESTS, LARGEST_MANIFEST).await;
                let answer = answer.map_err(|error| error.about(image))?;
                let header = answer.headers.get("docker-content-digest");
                let announced = header.and_then(|value| value.to_str().ok()?.parse::<ImageDigest>().ok());
                (answer.body, announced)
            }
        };
        let manifest = Manifest::of(body);
        for wanted in [image.digest(), announced].into_iter().flatten() {
            if wanted != manifest.digest {
                let why = format!("it announces {wanted} and sends {}", manifest.digest);
                return Err(Error::Content { image: image.to_string(), why });
            }
        }
        Ok(manifest)
    }

    /// A blob whose bytes are those of its digest.
    async fn blob(&self, digest: &ImageDigest) -> Result<Vec<u8>, Error> {
        let body = match &self.source {
            Source::Layout(layout) => layout.blob(&self.image, digest, LARGEST_BLOB)?,
            Source::Network(transport) => {
                let address = transport.address(&format!("blobs/{digest}"))?;
                transport.get(&address, "*/*", LARGEST_BLOB).await?.body
            }
        };
        let found = ImageDigest::of(&body);
        if found != *digest {
            let why = format!("blob {digest} has the digest {found}");
            return Err(Error::Content { image: self.image.to_string(), why });
        }
        Ok(body)
    }
}

/// The word for what was not looked at, among the reasons of a refusal.
fn too_many() -> Attachment {
    let why = format!("more than {MOST_REFERRERS} signatures are there, and the rest was not looked at");
    Attachment::unreadable("", &why)
}

/// The address of the next page (RFC 8288, as the distribution specification uses it).
fn next_page(address: &Url, answer: &Answer) -> Option<Url> {
    let link = answer.headers.get(LINK)?.to_str().ok()?;
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|one| matches!(one.trim(), "rel=\"next\"" | "rel=next"));
    is_next.then(|| address.join(target).ok())?
}
