//! Why an image is trusted, link by link, for a person to follow.

use jiff::Timestamp;

use super::{Evidence, Provenance, Signer};
use crate::value::ImageDigest;

/// One link: its name, and what it says, a line each.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Link {
    pub link: &'static str,
    pub says: Vec<String>,
}

fn link(link: &'static str, says: impl IntoIterator<Item = String>) -> Link {
    Link { link, says: says.into_iter().collect() }
}

/// The chain from what the person named to the root that it ends in.
pub fn chain(image: &str, platform: &ImageDigest, evidence: &Evidence) -> Vec<Link> {
    let mut links = vec![link("image", [image.to_owned()]), link("digest", digest(platform, evidence))];
    let signature = &evidence.signature;
    links.push(link("signature", [format!("{}, which names that digest", signature.format)]));
    match &signature.signer {
        Signer::Key(fingerprint) => links.push(link("key", [fingerprint.clone()])),
        Signer::Certificate(certificate) => {
            let mut says = vec![
                certificate.identity.clone(),
                format!("vouched for by {}", certificate.issuer),
                format!("valid from {} to {}", minute(certificate.not_before), minute(certificate.not_after)),
            ];
            if let Some(repository) = &certificate.source_repository {
                let part = |name: &str, value: &Option<String>| {
                    value.as_ref().map_or_else(String::new, |value| format!(", {name}{value}"))
                };
                says.push(format!(
                    "for {repository}{}{}",
                    part("", &certificate.source_ref),
                    part("commit ", &certificate.source_commit),
                ));
            }
            if let Some(run) = &certificate.run {
                let machine = certificate.runner_environment.as_ref();
                says.push(format!(
                    "by {run}{}",
                    machine.map_or_else(String::new, |kind| format!(" ({kind})"))
                ));
            }
            links.push(link("certificate", says));
        }
    }
    let logs = signature.entries.iter().map(|entry| {
        let time = entry.integrated.map_or_else(String::new, |time| format!(", taken in {}", minute(time)));
        format!("{}, entry {}{time}", entry.log, entry.index)
    });
    links.push(link("log", logs));
    links.push(link("time", [time(evidence)]));
    if !evidence.provenance.is_empty() {
        links.push(link("provenance", evidence.provenance.iter().flat_map(provenance)));
    }
    let root = &evidence.root;
    let refreshed = root.refreshed.map_or_else(String::new, |time| format!(", refreshed {}", minute(time)));
    links.push(link("root", [format!("{}{refreshed}", root.name), root.digest.to_string()]));
    links.push(link("policy", [format!("{}: publisher {}", evidence.policy, evidence.publisher)]));
    links
}

fn digest(platform: &ImageDigest, evidence: &Evidence) -> Vec<String> {
    let mut says = vec![evidence.signed.to_string()];
    if *platform != evidence.signed {
        let own =
            if evidence.platform_signed { "which is signed too" } else { "covered by the list's signature" };
        says.push(format!("a list; this machine's image in it is {platform}, {own}"));
    }
    if let Some(version) = &evidence.version {
        says.push(format!("version {version}, by the tag that the certificate is for"));
    }
    says
}

fn time(evidence: &Evidence) -> String {
    evidence.signed_at().map_or_else(
        || "nobody vouches for when it was signed".to_owned(),
        |time| {
            let days = Timestamp::now().duration_since(time).as_hours() / 24;
            format!("signed {}, {days} days ago", minute(time))
        },
    )
}

fn provenance(provenance: &Provenance) -> Vec<String> {
    let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "nobody says".to_owned());
    vec![
        format!("{} by {}", provenance.predicate_type, provenance.signature.signer),
        format!("built by {}", or(&provenance.builder)),
        format!("from {} at {}", or(&provenance.source_repository), or(&provenance.source_ref)),
    ]
}

pub(super) fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
