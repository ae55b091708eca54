use std::{fmt, path::PathBuf};

use crate::value::ImageDigest;

/// Why one bundle does not vouch for a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{digest} is not signed: the registry has no Sigstore bundle for it; nothing was started")]
    Unsigned { digest: ImageDigest },
    #[error("{digest} is not signed by whom you trust: {}; nothing was started", list(.refusals))]
    Refused { digest: ImageDigest, refusals: Vec<Refusal> },
    #[error("{digest}, which the signed list names for this machine, has signatures of its own and none is good: {}; nothing was started", list(.refusals))]
    PlatformRefused { digest: ImageDigest, refusals: Vec<Refusal> },
    #[error("the trusted root {root} cannot be used: {why}")]
    Root { root: String, why: String },
    #[error(
        "{digest} is signed, but has no provenance that its publisher signed, and the policy {policy} demands one; nothing was started"
    )]
    NoProvenance { digest: ImageDigest, policy: String },
    #[error(
        "{image} is {new}, and what runs here is {old}: a tag that was moved back may bring an old hole back; to go back on purpose, add --allow-rollback"
    )]
    Rollback { image: String, new: String, old: String },
    #[error("{}{}: {why}", .path.display(), .line.map_or_else(String::new, |line| format!(":{line}")))]
    Rules { path: PathBuf, line: Option<usize>, why: String },
    #[error("the bundle {bundle} is refused: {why}")]
    Bundle { bundle: String, why: String },
    #[error(
        "the public key {key} cannot be used: {why}; name a public key as PEM instead, such as cosign.pub"
    )]
    Key { key: String, why: String },
    #[error("'{identity}' is not a regular expression: {why}; check --identity")]
    Identity { identity: String, why: String },
}

/// A refusal may quote what a stranger wrote.
const LONGEST: usize = 400;
const MOST: usize = 6;

fn list(refusals: &[Refusal]) -> String {
    let mut reasons: Vec<String> =
        refusals.iter().map(|refusal| refusal.0.chars().take(LONGEST).collect()).collect();
    reasons.dedup();
    let more = reasons.len().saturating_sub(MOST);
    reasons.truncate(MOST);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    reasons.join("; ") + &more
}
