//! Every kind of bad signature, before the very verifier that `up` uses.

use std::collections::BTreeMap;

use simulator::sigstore::{Authority, Flaw, Identity};
use vega_builder::{
    trust::{Candidate, Error, Policy, Root, Rules, Verified},
    value::{Attachment, ImageDigest},
};

const NAME: &str = "ghcr.io/ad-astra-computing/vega-builder";
struct Trial {
    authority: Authority,
    policy: Policy,
    digest: ImageDigest,
}

impl Trial {
    fn new() -> Self {
        let authority = Authority::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("trusted_root.json");
        std::fs::write(&root, authority.trusted_root().unwrap()).unwrap();
        // The built-in publishers; only the root is the test's own.
        let policy = Policy::new(Rules::default(), Root::from_file(&root).unwrap());
        Self { authority, policy, digest: ImageDigest::of(b"an image") }
    }

    fn judge(&self, identity: &Identity, flaw: Option<Flaw>) -> Result<Verified<ImageDigest>, Error> {
        let bundle = self.authority.sign_with(self.digest.as_str(), identity, flaw).unwrap();
        self.verify(&[attachment(bundle)])
    }

    fn verify(&self, attachments: &[Attachment]) -> Result<Verified<ImageDigest>, Error> {
        self.verify_list(attachments, &self.digest, &[])
    }

    fn verify_list(
        &self,
        attachments: &[Attachment],
        platform: &ImageDigest,
        platform_attachments: &[Attachment],
    ) -> Result<Verified<ImageDigest>, Error> {
        let top = &self.digest;
        self.policy.verify(Candidate { name: NAME, top, attachments, platform, platform_attachments })
    }
}

fn attachment(bundle: String) -> Attachment {
    let media_type = "application/vnd.dev.sigstore.bundle.v0.3+json".to_owned();
    Attachment { media_type, annotations: BTreeMap::new(), text: bundle, fault: None }
}

#[test]
fn what_vegas_workflow_signed_is_trusted() {
    let trial = Trial::new();
    // The log grows, so proofs get longer.
    for _ in 0..5 {
        trial.judge(&Identity::vega(), None).unwrap();
    }
}

#[test]
fn a_signature_with_anything_wrong_is_refused() {
    let trial = Trial::new();
    trial.judge(&Identity::vega(), None).unwrap();
    for flaw in Flaw::ALL {
        let judged = trial.judge(&Identity::vega(), Some(flaw));
        assert!(judged.is_err(), "{flaw:?} was accepted");
    }
}

#[test]
fn another_workflow_repository_branch_or_issuer_is_refused() {
    let trial = Trial::new();
    let github =
        |repository: &str, workflow: &str, reference: &str| Identity::github(repository, workflow, reference);
    let mut other_issuer = Identity::vega();
    other_issuer.issuer = "https://accounts.example.com".to_owned();
    for identity in [
        github("Ad-Astra-Computing/vega-agent", "test.yml", "refs/tags/v0.18.0"),
        github("mallory/vega-agent", "publish-builder-image.yml", "refs/tags/v0.18.0"),
        github("Ad-Astra-Computing/vega-agent", "publish-builder-image.yml", "refs/heads/main"),
        github("Ad-Astra-Computing/vega-agent", "publish-builder-image.yml", "refs/tags/v1/../../heads/x"),
        other_issuer,
    ] {
        let error = trial.judge(&identity, None).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("signed by")), "{identity:?}");
    }
}

#[test]
fn a_good_signature_beside_bad_ones_counts_and_the_reverse_order_too() {
    let trial = Trial::new();
    let sign =
        |flaw| attachment(trial.authority.sign_with(trial.digest.as_str(), &Identity::vega(), flaw).unwrap());
    let mut attachments = vec![sign(Some(Flaw::BrokenSignature)), attachment("junk".to_owned()), sign(None)];
    for _ in 0..2 {
        trial.verify(&attachments).unwrap();
        attachments.reverse();
    }
}

#[test]
fn a_list_s_signature_covers_the_platform_and_junk_beside_the_platform_hides_nothing() {
    let trial = Trial::new();
    let platform = ImageDigest::of(b"the platform's manifest");
    let sign = |digest: &ImageDigest, flaw| {
        attachment(trial.authority.sign_with(digest.as_str(), &Identity::vega(), flaw).unwrap())
    };
    let list = [sign(&trial.digest, None)];
    let verified = trial.verify_list(&list, &platform, &[]).unwrap();
    assert_eq!((verified.value(), verified.evidence().platform_signed), (&platform, false));
    let own = [sign(&platform, None)];
    assert!(trial.verify_list(&list, &platform, &own).unwrap().evidence().platform_signed);
    let bad = [sign(&platform, Some(Flaw::ForeignAuthority))];
    let verified = trial.verify_list(&list, &platform, &bad).unwrap();
    assert!(!verified.evidence().platform_signed);
}
