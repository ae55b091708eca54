//! Every kind of bad signature, before the very verifier that `up` uses.

use simulator::sigstore::{Authority, Flaw, Identity};
use vega_builder::{
    trust::{Error, Policy, Verified},
    value::ImageDigest,
};

const VEGA: &str = r"https://github\.com/Ad-Astra-Computing/vega-agent/\.github/workflows/publish-builder-image\.yml@refs/tags/[^/]+";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

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
        let policy = Policy::new(VEGA, ISSUER, Some(&root)).unwrap();
        Self { authority, policy, digest: ImageDigest::of(b"an image") }
    }

    fn judge(&self, identity: &Identity, flaw: Option<Flaw>) -> Result<Verified<ImageDigest>, Error> {
        let bundle = self.authority.sign_with(self.digest.as_str(), identity, flaw).unwrap();
        self.policy.verify(&self.digest, &[bundle.into_bytes()], &self.digest, &[])
    }
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
    let sign = |flaw| {
        trial.authority.sign_with(trial.digest.as_str(), &Identity::vega(), flaw).unwrap().into_bytes()
    };
    let mut bundles = vec![sign(Some(Flaw::BrokenSignature)), b"junk".to_vec(), sign(None)];
    for _ in 0..2 {
        trial.policy.verify(&trial.digest, &bundles, &trial.digest, &[]).unwrap();
        bundles.reverse();
    }
}

#[test]
fn a_list_s_signature_covers_the_platform_unless_the_platform_s_own_is_bad() {
    let trial = Trial::new();
    let platform = ImageDigest::of(b"the platform's manifest");
    let sign = |digest: &ImageDigest, flaw| {
        trial.authority.sign_with(digest.as_str(), &Identity::vega(), flaw).unwrap().into_bytes()
    };
    let list = vec![sign(&trial.digest, None)];
    let verified = trial.policy.verify(&trial.digest, &list, &platform, &[]).unwrap();
    assert_eq!((verified.value(), verified.evidence().platform_signed), (&platform, false));
    let own = vec![sign(&platform, None)];
    assert!(trial.policy.verify(&trial.digest, &list, &platform, &own).unwrap().evidence().platform_signed);
    let bad = vec![sign(&platform, Some(Flaw::ForeignAuthority))];
    assert!(matches!(
        trial.policy.verify(&trial.digest, &list, &platform, &bad),
        Err(Error::PlatformRefused { .. })
    ));
}
