//! What a policy demands beyond a good signature, before the very verifier that `up` uses.

use std::{collections::BTreeMap, fs, time::Duration};

use serde_json::{Value, json};
use simulator::sigstore::{Authority, Identity};
use tempfile::TempDir;
use testbed::conformance::Case;
use vega_builder::{
    trust::{Candidate, Error, Evidence, Policy, Publisher, Root, Rules},
    value::{Attachment, ImageDigest},
};

const NAME: &str = "ghcr.io/ad-astra-computing/vega-builder";
const REPOSITORY: &str = "https://github.com/Ad-Astra-Computing/vega-agent";
const TAG: &str = "refs/tags/v0.18.0";
const SLSA_1: &str = "https://slsa.dev/provenance/v1";
const SLSA_02: &str = "https://slsa.dev/provenance/v0.2";
const DAY: Duration = Duration::from_secs(86400);

struct Trial {
    authority: Authority,
    folder: TempDir,
    digest: ImageDigest,
}

impl Trial {
    fn new() -> Self {
        let (authority, folder) = (Authority::new().unwrap(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("trusted_root.json"), authority.trusted_root().unwrap()).unwrap();
        Self { authority, folder, digest: ImageDigest::of(b"an image") }
    }

    fn signature(&self) -> Attachment {
        bundle(self.authority.sign(self.digest.as_str(), &Identity::vega()).unwrap())
    }

    fn provenance(&self, identity: &Identity, kind: &str, predicate: Value) -> Attachment {
        bundle(self.authority.attest(self.digest.as_str(), identity, kind, predicate).unwrap())
    }

    /// Judged by this trust.toml.
    fn judge(&self, rules: &str, attachments: &[Attachment]) -> Result<Evidence, Error> {
        let path = self.folder.path().join("trust.toml");
        fs::write(&path, rules).unwrap();
        let root = Root::from_file(&self.folder.path().join("trusted_root.json"))?;
        let digest = &self.digest;
        let verified = Policy::new(Rules::read(&path)?, root).verify(Candidate {
            name: NAME,
            top: digest,
            attachments,
            platform: digest,
            platform_attachments: &[],
        })?;
        Ok(verified.evidence().clone())
    }

    fn refusal(&self, rules: &str, attachments: &[Attachment]) -> String {
        self.judge(rules, attachments).unwrap_err().to_string()
    }
}

fn bundle(text: String) -> Attachment {
    let media_type = "application/vnd.dev.sigstore.bundle.v0.3+json".to_owned();
    Attachment { media_type, annotations: BTreeMap::new(), text, fault: None }
}

fn slsa_1(repository: &str, reference: &str, builder: &str) -> Value {
    json!({
        "buildDefinition": { "externalParameters": { "workflow": { "repository": repository, "ref": reference } } },
        "runDetails": { "builder": { "id": builder } },
    })
}

#[test]
fn bundles_of_every_version_vouch_for_an_image() {
    let trial = Trial::new();
    for version in ["0.1", "0.2", "0.3"] {
        let mut written: Value = serde_json::from_str(&trial.signature().text).unwrap();
        written["mediaType"] = format!("application/vnd.dev.sigstore.bundle+json;version={version}").into();
        if version != "0.3" {
            let material = written["verificationMaterial"].as_object_mut().unwrap();
            let certificate = material.remove("certificate").unwrap();
            material.insert("x509CertificateChain".to_owned(), json!({ "certificates": [certificate] }));
        }
        let evidence = trial.judge("", &[bundle(written.to_string())]).unwrap();
        assert!(evidence.signature.format.contains(version), "{}", evidence.signature.format);
    }
}

#[test]
fn the_public_suites_signatures_of_both_logs_vouch_for_the_digest_that_they_are_over() {
    let cases = Case::all().unwrap().unwrap_or_default().into_iter();
    let mut logs = std::collections::BTreeSet::new();
    for case in cases.filter(|case| !case.is_bad() && case.key.is_none()) {
        let text = fs::read_to_string(case.bundle()).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        let digest = ImageDigest::of(&fs::read(&case.artifact).unwrap());
        let (identity, issuer) = case.certificate.clone();
        let publisher = Publisher::workflow("suite", &regex_of(&identity), &issuer).unwrap();
        let rules = Rules { publishers: vec![publisher], ..Rules::default() };
        let root = case.trusted_root.as_deref().map_or_else(Root::embedded, Root::from_file).unwrap();
        let judged = Policy::new(rules, root).verify(Candidate {
            name: NAME,
            top: &digest,
            attachments: &[bundle(text)],
            platform: &digest,
            platform_attachments: &[],
        });
        if read["messageSignature"].is_object() {
            let evidence = judged.unwrap().evidence().clone();
            assert!(evidence.signed_at().is_some(), "{}", case.name);
            logs.insert(evidence.signature.entries[0].integrated.is_some());
        } else {
            // A statement of another kind is true, and no signature of an image.
            assert!(matches!(judged, Err(Error::Unsigned { .. })), "{}", case.name);
        }
    }
    assert!(
        logs.is_empty() || logs.len() == 2,
        "both logs: with a time of its own, and with a timestamp beside"
    );
}

/// A name as an expression that matches it alone.
fn regex_of(name: &str) -> String {
    name.chars().flat_map(|c| if c.is_ascii_alphanumeric() { vec![c] } else { vec!['\\', c] }).collect()
}

#[test]
fn a_signature_over_the_manifest_itself_is_trusted_and_another_manifests_is_not() {
    let trial = Trial::new();
    let sign = |message: &[u8]| bundle(trial.authority.sign_message(message, &Identity::vega()).unwrap());
    let evidence = trial.judge("", &[sign(b"an image")]).unwrap();
    assert_eq!(evidence.version.as_deref(), Some("0.18.0"));
    let refusal = trial.refusal("", &[sign(b"another image")]);
    assert!(refusal.contains("does not verify"), "{refusal}");
}

#[test]
fn an_image_older_than_the_minimum_version_is_refused() {
    let trial = Trial::new();
    let signed = [trial.signature()];
    let evidence = trial.judge("[image]\nminimum-version = \"0.18.0\"\n", &signed).unwrap();
    assert_eq!(evidence.version.as_deref(), Some("0.18.0"));
    let refusal = trial.refusal("[image]\nminimum-version = \"0.18.1\"\n", &signed);
    assert!(refusal.contains("it is version 0.18.0, and the policy asks for 0.18.1 or newer"), "{refusal}");
}

#[test]
fn an_image_signed_on_a_branch_has_no_version_and_meets_no_minimum() {
    let trial = Trial::new();
    let identity = Identity::github("octo/image", "publish.yml", "refs/heads/v9.9.9");
    let signed = [bundle(trial.authority.sign(trial.digest.as_str(), &identity).unwrap())];
    let rules = |more: &str| {
        format!("[[publisher]]\nname = \"octo\"\nidentity = \"https://github.com/octo/image/.*\"\n{more}")
    };
    trial.judge(&rules(""), &signed).unwrap();
    let refusal = trial.refusal(&rules("[image]\nminimum-version = \"1.0\"\n"), &signed);
    assert!(refusal.contains("names no version"), "{refusal}");
}

#[test]
fn a_signature_older_than_the_maximal_age_is_refused_and_a_newer_one_beside_it_counts() {
    let trial = Trial::new();
    let old = trial.authority.sign_before(trial.digest.as_str(), &Identity::vega(), 100 * DAY).unwrap();
    let old = bundle(old);
    let rules = "[image]\nmax-age = \"90d\"\n";
    let refusal = trial.refusal(rules, std::slice::from_ref(&old));
    assert!(refusal.contains("signed 100 days ago, and the policy's max-age is 90 days"), "{refusal}");
    trial.judge("", std::slice::from_ref(&old)).unwrap();
    trial.judge(rules, &[old, trial.signature()]).unwrap();
}

#[test]
fn provenance_is_demanded_when_the_policy_says_so() {
    let trial = Trial::new();
    let rules = "[provenance]\nrequired = true\n";
    let refusal = trial.refusal(rules, &[trial.signature()]);
    assert!(refusal.contains("has no provenance that its publisher signed"), "{refusal}");
    for (kind, predicate) in [
        (SLSA_1, slsa_1(REPOSITORY, TAG, "https://github.com/actions/runner/github-hosted")),
        (
            SLSA_02,
            json!({
                "builder": { "id": "https://github.com/actions/runner/github-hosted" },
                "invocation": { "configSource": { "uri": format!("git+{REPOSITORY}@{TAG}") } },
            }),
        ),
    ] {
        let attachments = [trial.signature(), trial.provenance(&Identity::vega(), kind, predicate)];
        let evidence = trial.judge(rules, &attachments).unwrap();
        assert_eq!(evidence.provenance[0].source_repository.as_deref(), Some(REPOSITORY));
        assert_eq!(evidence.provenance[0].source_ref.as_deref(), Some(TAG));
    }
}

#[test]
fn provenance_alone_is_no_signature() {
    let trial = Trial::new();
    let provenance = trial.provenance(&Identity::vega(), SLSA_1, slsa_1(REPOSITORY, TAG, "b"));
    assert!(matches!(trial.judge("", &[provenance]), Err(Error::Unsigned { .. })));
}

#[test]
fn a_strangers_provenance_neither_helps_nor_harms() {
    let trial = Trial::new();
    let stranger = Identity::github("mallory/image", "publish.yml", "refs/tags/v1");
    let provenance = trial.provenance(&stranger, SLSA_1, slsa_1(REPOSITORY, TAG, "b"));
    let attachments = [trial.signature(), provenance];
    assert!(trial.judge("", &attachments).unwrap().provenance.is_empty());
    let refusal = trial.refusal("[provenance]\nrequired = true\n", &attachments);
    assert!(refusal.contains("has no provenance"), "{refusal}");
}

#[test]
fn provenance_that_its_own_certificate_contradicts_is_refused() {
    let trial = Trial::new();
    for (predicate, said) in [
        (slsa_1("https://github.com/mallory/fork", TAG, "b"), "mallory/fork as its source repository"),
        (slsa_1(REPOSITORY, "refs/heads/main", "b"), "refs/heads/main as its source ref"),
    ] {
        let attachments = [trial.signature(), trial.provenance(&Identity::vega(), SLSA_1, predicate)];
        let refusal = trial.refusal("", &attachments);
        assert!(refusal.contains(said) && refusal.contains("but its certificate"), "{refusal}");
    }
}

#[test]
fn provenance_of_another_builder_source_or_tag_than_the_policy_s_is_refused() {
    let trial = Trial::new();
    let predicate = slsa_1(REPOSITORY, TAG, "https://github.com/actions/runner/self-hosted");
    let attachments = [trial.signature(), trial.provenance(&Identity::vega(), SLSA_1, predicate)];
    for rule in [
        "builder = \"https://github.com/actions/runner/github-hosted\"",
        "source-repository = \"https://github.com/octo/other\"",
        "source-ref = \"refs/tags/v9.*\"",
    ] {
        let refusal = trial.refusal(&format!("[provenance]\n{rule}\n"), &attachments);
        assert!(refusal.contains("is not what the policy demands"), "{rule}: {refusal}");
    }
    let rules = format!(
        "[provenance]\nrequired = true\nbuilder = \"https://github.com/actions/runner/.*\"\n\
         source-repository = \"{REPOSITORY}\"\nsource-ref = \"refs/tags/v[0-9.]+\"\n"
    );
    trial.judge(&rules, &attachments).unwrap();
}

#[test]
fn provenance_of_another_image_is_refused() {
    let trial = Trial::new();
    let other = ImageDigest::of(b"another image");
    let predicate = slsa_1(REPOSITORY, TAG, "b");
    let provenance = trial.authority.attest(other.as_str(), &Identity::vega(), SLSA_1, predicate).unwrap();
    let attachments = [trial.signature(), bundle(provenance)];
    let refusal = trial.refusal("[provenance]\nrequired = true\n", &attachments);
    assert!(refusal.contains("has no provenance"), "{refusal}");
}

#[test]
fn a_publishers_own_signature_of_the_platform_that_the_policy_does_not_take_is_refused() {
    let trial = Trial::new();
    let platform = ImageDigest::of(b"the platform's manifest");
    let old = trial.authority.sign_before(platform.as_str(), &Identity::vega(), 100 * DAY).unwrap();
    let path = trial.folder.path().join("trust.toml");
    fs::write(&path, "[image]\nmax-age = \"90d\"\n").unwrap();
    let root = Root::from_file(&trial.folder.path().join("trusted_root.json")).unwrap();
    let judged = Policy::new(Rules::read(&path).unwrap(), root).verify(Candidate {
        name: NAME,
        top: &trial.digest,
        attachments: &[trial.signature()],
        platform: &platform,
        platform_attachments: &[bundle(old)],
    });
    assert!(matches!(judged, Err(Error::PlatformRefused { .. })));
}

#[test]
fn a_strangers_call_of_a_trusted_reusable_workflow_is_refused_unless_the_policy_names_them() {
    let trial = Trial::new();
    let identity =
        Identity { called_for: Some("https://github.com/mallory/x".to_owned()), ..Identity::vega() };
    let signed = [bundle(trial.authority.sign(trial.digest.as_str(), &identity).unwrap())];
    let refusal = trial.refusal("", &signed);
    assert!(refusal.contains("for https://github.com/mallory/x, which called that workflow"), "{refusal}");
    let rules = "[[publisher]]\nname = \"them\"\nidentity = \"https://github.com/Ad-Astra-Computing/.*\"\n\
                 source-repository = \"https://github.com/mallory/x\"\n";
    trial.judge(rules, &signed).unwrap();
    let refusal = trial.refusal(rules, &[trial.signature()]);
    assert!(refusal.contains("which called that workflow"), "{refusal}");
}

#[test]
fn a_keys_signature_has_no_age_that_nobody_could_renew() {
    let trial = Trial::new();
    let folder = tempfile::tempdir().unwrap();
    let key = Authority::write_key(&folder.path().join("key.pub")).unwrap();
    let signed = [bundle(trial.authority.sign_by_key(trial.digest.as_str(), &key).unwrap())];
    let rules = |more: &str| {
        format!("[[publisher]]\nname = \"key\"\nkey = \"{}/key.pub\"\n{more}", folder.path().display())
    };
    trial.judge(&rules(""), &signed).unwrap();
    let refusal = trial.refusal(&rules("[image]\nmax-age = \"90d\"\n"), &signed);
    assert!(refusal.contains("it is signed with a key"), "{refusal}");
    // A time that somebody left out does not make an older image newer.
    let mut stripped: Value = serde_json::from_str(&signed[0].text).unwrap();
    let entry = stripped.pointer_mut("/verificationMaterial/tlogEntries/0").unwrap().as_object_mut().unwrap();
    entry.remove("inclusionPromise");
    entry.remove("integratedTime");
    let timeless = trial.judge(&rules(""), &[bundle(stripped.to_string())]).unwrap();
    assert_eq!(timeless.signed_at(), None);
    let other = ImageDigest::of(b"another image");
    let newer = Trial { digest: other.clone(), ..trial };
    let signed = [bundle(newer.authority.sign_by_key(other.as_str(), &key).unwrap())];
    let newer = newer.judge(&rules(""), &signed).unwrap();
    assert!(timeless.may_be_older_than(&newer) && newer.may_be_older_than(&timeless));
}

#[test]
fn a_signature_with_a_flood_of_log_entries_is_refused_before_they_are_judged() {
    let trial = Trial::new();
    let mut flooded: Value = serde_json::from_str(&trial.signature().text).unwrap();
    let entries = flooded.pointer_mut("/verificationMaterial/tlogEntries").unwrap().as_array_mut().unwrap();
    let one = entries[0].clone();
    entries.extend(std::iter::repeat_n(one, 8));
    let refusal = trial.refusal("", &[bundle(flooded.to_string())]);
    assert!(refusal.contains("more than 8 log entries"), "{refusal}");
}

#[test]
fn an_older_image_is_known_by_its_version_and_else_by_its_time() {
    let trial = Trial::new();
    let of = |tag: &str, ago: u32| {
        let identity = Identity::github(
            "Ad-Astra-Computing/vega-agent",
            "publish-builder-image.yml",
            &format!("refs/tags/{tag}"),
        );
        let digest = ImageDigest::of(format!("{tag} {ago}").as_bytes());
        let signed = trial.authority.sign_before(digest.as_str(), &identity, ago * DAY).unwrap();
        let moved =
            Trial { authority: Authority::new().unwrap(), folder: tempfile::tempdir().unwrap(), digest };
        fs::copy(
            trial.folder.path().join("trusted_root.json"),
            moved.folder.path().join("trusted_root.json"),
        )
        .unwrap();
        moved.judge("", &[bundle(signed)]).unwrap()
    };
    // A fix of an older line may be the newer signature.
    assert!(of("v1.9.1", 1).may_be_older_than(&of("v2.0.0", 30)));
    assert!(!of("v2.0.0", 30).may_be_older_than(&of("v1.9.1", 1)));
    assert!(of("latest", 30).may_be_older_than(&of("latest", 1)));
    assert!(!of("latest", 1).may_be_older_than(&of("latest", 30)));
    let same = of("v1", 3);
    assert!(!same.may_be_older_than(&same.clone()));
}
