//! What Nix knows of a store path, in the words of `nix path-info --json`.

use std::{collections::BTreeSet, str::FromStr as _};

use harmonia_store_core::store_path::{StoreDir, StorePath};
use harmonia_utils_hash::{Hash, Sha256, fmt};
use serde::Deserialize;
use serde_json::{Value, json};

/// A valid path of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    pub path: StorePath,
    pub nar_hash: Sha256,
    /// In bytes.
    pub nar_size: u64,
    /// Itself too, where it refers to itself.
    pub references: BTreeSet<StorePath>,
    pub deriver: Option<StorePath>,
    /// For a path that is named by its content: how.
    pub ca: Option<String>,
    /// Those that the store has already, each `NAME:BASE64`.
    pub signatures: Vec<String>,
}

impl PathInfo {
    /// What it refers to besides itself.
    pub fn others(&self) -> impl Iterator<Item = &StorePath> {
        self.references.iter().filter(|reference| **reference != self.path)
    }

    /// In the words in which it is read.
    pub fn to_json(&self, store: &StoreDir) -> Value {
        let name = |path: &StorePath| store.display(path).to_string();
        json!({
            "path": name(&self.path),
            "narHash": super::narinfo::shown(&self.nar_hash),
            "narSize": self.nar_size,
            "references": self.references.iter().map(name).collect::<Vec<_>>(),
            "deriver": self.deriver.as_ref().map(name),
            "ca": self.ca,
            "signatures": self.signatures,
        })
    }

    /// The 32 letters by which binary caches know it.
    pub fn key(&self) -> String {
        self.path.hash().to_string()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    path: Option<String>,
    nar_hash: Option<String>,
    nar_size: Option<u64>,
    #[serde(default)]
    references: Vec<String>,
    deriver: Option<String>,
    ca: Option<String>,
    #[serde(default)]
    signatures: Vec<String>,
}

/// Read what `nix path-info --json` prints: a list of objects with their paths, or, since Nix 2.19, an object by path.
pub fn parse(text: &str, store: &StoreDir) -> Result<Vec<PathInfo>, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum All {
        List(Vec<Told>),
        ByPath(std::collections::BTreeMap<String, Option<Told>>),
    }
    let all: Vec<(String, Option<Told>)> = match serde_json::from_str(text).map_err(|why| why.to_string())? {
        All::List(list) => {
            list.into_iter().map(|told| (told.path.clone().unwrap_or_default(), Some(told))).collect()
        }
        All::ByPath(map) => map.into_iter().collect(),
    };
    all.into_iter().map(|(path, told)| info(&path, told, store)).collect()
}

fn info(path: &str, told: Option<Told>, store: &StoreDir) -> Result<PathInfo, String> {
    let is_invalid = || format!("{path} is not valid in this store");
    let told = told.ok_or_else(is_invalid)?;
    let hash = told.nar_hash.ok_or_else(is_invalid)?;
    let hash =
        hash.parse::<fmt::Any<Hash>>().map_err(|why| format!("the hash of {path}: {why}"))?.into_hash();
    Ok(PathInfo {
        path: named(path, store)?,
        nar_hash: Sha256::from_slice(hash.digest_bytes())
            .map_err(|why| format!("the hash of {path}: {why}"))?,
        nar_size: told.nar_size.ok_or_else(is_invalid)?,
        references: told.references.iter().map(|name| named(name, store)).collect::<Result<_, _>>()?,
        // A store that does not know it says so in these words.
        deriver: told
            .deriver
            .filter(|name| name != "unknown-deriver")
            .map(|name| named(&name, store))
            .transpose()?,
        ca: told.ca.filter(|ca| !ca.is_empty()),
        signatures: told.signatures,
    })
}

/// A path by its whole name, or, as the newest Nix writes it, without the store's folder.
fn named(name: &str, store: &StoreDir) -> Result<StorePath, String> {
    let base = name.strip_prefix(store.to_str()).map_or(name, |rest| rest.trim_start_matches('/'));
    StorePath::from_str(base).map_err(|why| format!("'{name}' is no store path: {why}"))
}

#[cfg(test)]
mod tests {
    use harmonia_store_core::store_path::StoreDir;

    use super::parse;

    const HASH: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    const A: &str = "00000000000000000000000000000000-a";
    const B: &str = "11111111111111111111111111111111-b";

    #[test]
    fn a_path_is_read_from_the_words_of_older_and_newer_nix() {
        let list = format!(
            r#"[{{"path": "/nix/store/{A}", "narHash": "{HASH}", "narSize": 7,
                 "references": ["/nix/store/{A}", "/nix/store/{B}"], "deriver": "/nix/store/{B}.drv"}}]"#
        );
        let map = format!(
            r#"{{"/nix/store/{A}": {{"narHash": "{HASH}", "narSize": 7, "references": ["{A}", "{B}"],
                 "deriver": "{B}.drv", "ca": null, "signatures": []}}}}"#
        );
        let store = StoreDir::default();
        let old = parse(&list, &store).unwrap();
        assert_eq!(old, parse(&map, &store).unwrap());
        assert_eq!(old[0].others().map(ToString::to_string).collect::<Vec<_>>(), [B]);
        assert_eq!(old[0].nar_hash, harmonia_utils_hash::Sha256::digest(""));
        assert_eq!(old[0].key(), &A[..32]);
        assert_eq!(old, parse(&format!("[{}]", old[0].to_json(&store)), &store).unwrap());
    }

    #[test]
    fn a_path_that_is_not_valid_is_an_error_with_its_name() {
        let store = StoreDir::default();
        let told = parse(&format!(r#"{{"/nix/store/{A}": null}}"#), &store);
        assert!(told.unwrap_err().contains(&format!("{A} is not valid")));
        let told = parse(&format!(r#"[{{"path": "/nix/store/{A}", "valid": false}}]"#), &store);
        assert!(told.unwrap_err().contains("not valid"));
        assert!(parse("nonsense", &store).is_err());
    }
}
