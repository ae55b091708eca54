//! The narinfo of a path, as Nix writes it.
//!
//! The crate `narinfo` writes other keys in another order, and none for paths that are named by their content; what a
//! client compares byte by byte (a mirror, a log) should not differ from Nix's own.

use std::{fmt::Write as _, str::FromStr as _};

use harmonia_store_core::{
    signature::{SecretKey, fingerprint_path},
    store_path::{StoreDir, StorePath},
};
use harmonia_utils_hash::{Sha256, fmt::CommonHash as _};

use super::{PathInfo, compression::Compression};

/// The compressed NAR of a path, as it lies in the cache.
#[derive(Debug, Clone)]
pub struct File {
    /// Relative to the cache's address.
    pub url: String,
    pub compression: Compression,
    pub hash: Sha256,
    /// In bytes.
    pub size: u64,
}

/// `sha256:` and the digest in Nix's base 32.
pub fn shown(hash: &Sha256) -> String {
    hash.as_base32().to_string()
}

/// The text of `HASH.narinfo`, with the path's own signatures and one by `key`.
pub fn narinfo(info: &PathInfo, file: &File, store: &StoreDir, key: Option<&SecretKey>) -> String {
    let mut text = format!(
        "StorePath: {}\nURL: {}\nCompression: {}\nFileHash: {}\nFileSize: {}\nNarHash: {}\nNarSize: {}\nReferences: {}\n",
        store.display(&info.path),
        file.url,
        file.compression.name(),
        shown(&file.hash),
        file.size,
        shown(&info.nar_hash),
        info.nar_size,
        info.references.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    );
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{name}: {value}");
    };
    if let Some(deriver) = &info.deriver {
        line("Deriver", deriver);
    }
    let mut signatures = info.signatures.clone();
    if let Some(key) = key {
        // One of the same name from before is no use beside it.
        signatures.retain(|signature| !signature.starts_with(&format!("{}:", key.name())));
        signatures.push(key.sign(fingerprint(info, store)).to_string());
        signatures.sort();
    }
    for signature in &signatures {
        line("Sig", signature);
    }
    if let Some(ca) = &info.ca {
        line("CA", ca);
    }
    text
}

/// What a cache's narinfo says that its path refers to, the path itself left out; nothing when it is no narinfo of this
/// path.
pub fn references(text: &[u8], path: &StorePath, store: &StoreDir) -> Option<Vec<StorePath>> {
    let text = std::str::from_utf8(text).ok()?;
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    if line("StorePath")?.trim() != store.display(path).to_string() {
        return None;
    }
    let all = line("References").unwrap_or_default().split_whitespace().map(StorePath::from_str);
    all.filter(|reference| reference.as_ref() != Ok(path)).collect::<Result<_, _>>().ok()
}

/// What a signature is over.
pub fn fingerprint(info: &PathInfo, store: &StoreDir) -> Vec<u8> {
    fingerprint_path(store, &info.path, shown(&info.nar_hash).as_bytes(), info.nar_size, &info.references)
        .expect("a SHA-256 in base 32 has the form that is asked for")
}

/// The name of a path's narinfo in a cache.
pub fn name(path: &StorePath) -> String {
    format!("{}.narinfo", path.hash())
}
