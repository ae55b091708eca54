use jiff::Timestamp;
use semver::Version;
use sigstore_verify::types::{Bundle, Sha256Hash};

use super::{
    Error, Evidence, Provenance, Publisher, Refusal, Root, Rules, Signature, Signer, Verified, Vouchers,
    simple_signing,
    statement::{Claim, claim},
    version,
};
use crate::value::{Attachment, ImageDigest};

/// Whether a layer of this media type may be a signature: a Sigstore bundle of whatever version, or cosign 2's form.
pub fn is_signature(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.dev.sigstore.bundle") || media_type == simple_signing::MEDIA_TYPE
}

/// Whose images may run, and the root that their signatures must end in.
pub struct Policy {
    rules: Rules,
    root: Root,
}

/// An image, as a registry has it, with what refers to it there.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The image's name, without tag and digest.
    pub name: &'a str,
    /// What the tag names: a manifest list, or the image itself.
    pub top: &'a ImageDigest,
    pub attachments: &'a [Attachment],
    /// The image that runs: `top` itself, or one that the list `top` names by digest (so the list's signature covers
    /// it).
    pub platform: &'a ImageDigest,
    pub platform_attachments: &'a [Attachment],
}

/// One good signature.
struct Good {
    signature: Signature,
    publisher: String,
    version: Option<Version>,
}

/// What was found out about one digest.
#[derive(Default)]
struct Found {
    good: Option<Good>,
    provenance: Vec<Provenance>,
    /// What the two rest on.
    vouchers: Vec<Attachment>,
    /// Why what claims to be a signature is none.
    refusals: Vec<Refusal>,
    /// Those of them that a publisher made, and the policy does not take.
    by_publisher: Vec<Refusal>,
    /// Why a publisher's own provenance is not what it must be.
    contradictions: Vec<Refusal>,
}

impl Policy {
    pub fn new(rules: Rules, root: Root) -> Self {
        Self { rules, root }
    }

    /// Check `image` against what refers to it. What a publisher signed of its platform must be good too.
    pub fn verify(&self, image: Candidate<'_>) -> Result<Verified<ImageDigest>, Error> {
        let top = self.look(image.name, image.top, image.attachments);
        let own = if image.platform == image.top {
            Found::default()
        } else {
            self.look(image.name, image.platform, image.platform_attachments)
        };
        let Some(good) = top.good else {
            let digest = image.top.clone();
            return Err(if top.refusals.is_empty() {
                Error::Unsigned { digest }
            } else {
                Error::Refused { digest, refusals: top.refusals }
            });
        };
        // Anybody can lay a bad signature beside the platform's manifest; only a publisher's own can speak against it.
        if own.good.is_none() && !own.by_publisher.is_empty() {
            return Err(Error::PlatformRefused {
                digest: image.platform.clone(),
                refusals: own.by_publisher,
            });
        }
        let contradictions: Vec<_> = [top.contradictions, own.contradictions].concat();
        if !contradictions.is_empty() {
            return Err(Error::Refused { digest: image.top.clone(), refusals: contradictions });
        }
        let provenance: Vec<_> = [top.provenance, own.provenance].concat();
        if provenance.is_empty() && self.rules.provenance.required {
            return Err(Error::NoProvenance { digest: image.top.clone(), policy: self.rules.origin.clone() });
        }
        let evidence = Evidence {
            signed: image.top.clone(),
            publisher: good.publisher,
            signature: good.signature,
            platform_signed: image.platform == image.top || own.good.is_some(),
            version: good.version.map(|version| version.to_string()),
            provenance,
            policy: self.rules.origin.clone(),
            root: self.root.facts().clone(),
            verified_at: Timestamp::now(),
        };
        let vouchers = Vouchers { top: top.vouchers, platform: own.vouchers };
        Ok(Verified::new(image.platform.clone(), evidence, vouchers))
    }

    /// Judge everything that refers to `digest`.
    ///
    /// Anybody who may push to the repository can add a bad signature, so bad ones beside a good one are
    /// passed over, as cosign does.
    fn look(&self, name: &str, digest: &ImageDigest, attachments: &[Attachment]) -> Found {
        let mut found = Found::default();
        for attachment in attachments {
            match self.judge(name, digest, attachment, &mut found) {
                Ok(true) => found.vouchers.push(attachment.clone()),
                Ok(false) => {}
                Err(refusal) => found.refusals.push(refusal),
            }
        }
        found
    }

    /// Whether `attachment` vouches for `digest`; one good signature is enough.
    fn judge(
        &self,
        name: &str,
        digest: &ImageDigest,
        attachment: &Attachment,
        found: &mut Found,
    ) -> Result<bool, Refusal> {
        if let Some(fault) = &attachment.fault {
            return Err(Refusal(fault.clone()));
        }
        let is_first = found.good.is_none();
        if attachment.media_type == simple_signing::MEDIA_TYPE {
            if is_first {
                found.good = Some(self.simple_signing(name, digest, attachment, &mut found.by_publisher)?);
            }
            return Ok(is_first);
        }
        let bundle = Bundle::from_json(&attachment.text)
            .map_err(|why| Refusal(format!("a bundle cannot be read: {why}")))?;
        match claim(&bundle, digest)? {
            Claim::Other => Ok(false),
            Claim::Signature => {
                if is_first {
                    let judged = self.publishers(&bundle, digest)?;
                    found.good = Some(self.accept(&judged, &mut found.by_publisher)?);
                }
                Ok(is_first)
            }
            Claim::Provenance(statement) => {
                // A stranger's provenance neither helps nor harms.
                let Ok(judged) = self.publishers(&bundle, digest) else { return Ok(false) };
                let own =
                    |(publisher, signature): &(&Publisher, Signature)| publisher.made(signature).is_ok();
                let Some((_, signature)) = judged.into_iter().find(own) else { return Ok(false) };
                let provenance = Provenance::read(&statement, signature);
                match provenance.check(&self.rules.provenance) {
                    Ok(()) => found.provenance.push(provenance),
                    Err(refusal) => found.contradictions.push(refusal),
                }
                Ok(true)
            }
        }
    }

    fn simple_signing(
        &self,
        name: &str,
        digest: &ImageDigest,
        attachment: &Attachment,
        by_publisher: &mut Vec<Refusal>,
    ) -> Result<Good, Refusal> {
        let claim = simple_signing::claim(&attachment.text, digest)?;
        let bundle = simple_signing::bundle(attachment)?;
        let mut judged = self.publishers(&bundle, &ImageDigest::of(attachment.text.as_bytes()))?;
        judged.retain(|(publisher, _)| {
            simple_signing::is_same(publisher.reference.as_deref().unwrap_or(name), &claim.reference)
        });
        if judged.is_empty() {
            return Err(Refusal(format!("a signature is for the name {}, not {name}", claim.reference)));
        }
        let mut good = self.accept(&judged, by_publisher)?;
        simple_signing::MEDIA_TYPE.clone_into(&mut good.signature.format);
        Ok(good)
    }

    /// The bundle's signature over `digest`, beside every publisher whom its form could be from.
    fn publishers(
        &self,
        bundle: &Bundle,
        digest: &ImageDigest,
    ) -> Result<Vec<(&Publisher, Signature)>, Refusal> {
        let hash = Sha256Hash::from_hex(digest.hex()).map_err(|why| Refusal(why.to_string()))?;
        if bundle.signing_certificate().is_some() {
            let signature = Signature::keyless(&self.root, bundle, hash)?;
            return Ok(self
                .rules
                .publishers
                .iter()
                .map(|publisher| (publisher, signature.clone()))
                .collect());
        }
        let (mut good, mut refusals) = (Vec::new(), Vec::new());
        for publisher in &self.rules.publishers {
            let Some(key) = publisher.public_key() else { continue };
            match Signature::by_key(&self.root, bundle, hash, key) {
                Ok(signature) => good.push((publisher, signature)),
                Err(refusal) => refusals.push(refusal),
            }
        }
        if !good.is_empty() {
            return Ok(good);
        }
        let none = || Refusal("it is signed with a key, and the policy names none".to_owned());
        Err(refusals.into_iter().next().unwrap_or_else(none))
    }

    /// The publisher whose signature it is, when it is new enough; when not, that goes to `by_publisher` too.
    fn accept(
        &self,
        judged: &[(&Publisher, Signature)],
        by_publisher: &mut Vec<Refusal>,
    ) -> Result<Good, Refusal> {
        let mut refusal = None;
        for (publisher, signature) in judged {
            match publisher.made(signature) {
                Ok(()) => {
                    return self
                        .new_enough(publisher, signature)
                        .inspect_err(|why| by_publisher.push(why.clone()));
                }
                Err(why) => refusal = refusal.or(Some(why)),
            }
        }
        Err(refusal.unwrap_or_else(|| Refusal("the policy names no publisher".to_owned())))
    }

    fn new_enough(&self, publisher: &Publisher, signature: &Signature) -> Result<Good, Refusal> {
        let version = version::of(signature);
        if let Some(least) = &self.rules.minimum_version {
            match &version {
                None => {
                    return Err(Refusal(format!(
                        "its signature names no version, and the policy asks for {least} or newer"
                    )));
                }
                Some(version) if version < least => {
                    return Err(Refusal(format!(
                        "it is version {version}, and the policy asks for {least} or newer"
                    )));
                }
                Some(_) => {}
            }
        }
        if let Some(most) = self.rules.max_age {
            // Anybody can have a key's old signature logged anew; a certificate lapses in ten minutes.
            let Some(time) = signature.time().filter(|_| matches!(signature.signer, Signer::Certificate(_)))
            else {
                let why = "it is signed with a key, whose signatures have no age that nobody could renew, and the \
                           policy has a max-age";
                return Err(Refusal(why.to_owned()));
            };
            let age = Timestamp::now().duration_since(time);
            if age > most {
                let days = age.as_hours() / 24;
                return Err(Refusal(format!(
                    "it was signed {days} days ago, and the policy's max-age is {} days",
                    most.as_hours() / 24
                )));
            }
        }
        Ok(Good { signature: signature.clone(), publisher: publisher.name.clone(), version })
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Policy};
    use crate::{
        trust::{Error, Root, Rules},
        value::{Attachment, ImageDigest},
    };

    fn judge(texts: &[&str]) -> Error {
        let digest = ImageDigest::of(b"x");
        let attachments: Vec<_> = texts
            .iter()
            .map(|text| Attachment {
                media_type: "application/vnd.dev.sigstore.bundle.v0.3+json".to_owned(),
                annotations: std::collections::BTreeMap::default(),
                text: (*text).to_owned(),
                fault: None,
            })
            .collect();
        let policy = Policy::new(Rules::default(), Root::embedded().unwrap());
        let image = Candidate {
            name: "ghcr.io/a/b",
            top: &digest,
            attachments: &attachments,
            platform: &digest,
            platform_attachments: &[],
        };
        policy.verify(image).unwrap_err()
    }

    #[test]
    fn a_digest_without_bundles_is_unsigned() {
        assert!(matches!(judge(&[]), Error::Unsigned { .. }));
    }

    #[test]
    fn what_is_no_bundle_is_refused_not_passed_over() {
        assert!(matches!(judge(&["{}", ""]), Error::Refused { .. }));
    }
}
