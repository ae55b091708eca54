//! Sigstore's public conformance cases, which are no part of this project: what each holds, and how a verifier is
//! asked about it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::layout::project;

/// How many cases the suite has, so that a folder of half of them is no success.
pub const CASES: usize = 70;

const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// One bundle and what is asked about it.
pub struct Case {
    pub name: String,
    pub folder: PathBuf,
    pub artifact: PathBuf,
    /// The identity and the issuer, unless a key is given.
    pub certificate: (String, String),
    pub key: Option<PathBuf>,
    pub trusted_root: Option<PathBuf>,
}

impl Case {
    /// Every case, in the order of their names; `None`, said aloud, when the suite is not here.
    pub fn all() -> anyhow::Result<Option<Vec<Self>>> {
        let place = env::var_os("VEGA_SIGSTORE_CONFORMANCE")
            .map_or_else(|| project().join("../shared/data/sigstore-conformance"), PathBuf::from);
        let Ok(entries) = fs::read_dir(&place) else {
            println!(
                "SKIPPED: Sigstore's conformance cases are not at {} (VEGA_SIGSTORE_CONFORMANCE)",
                place.display()
            );
            return Ok(None);
        };
        let mut cases = Vec::new();
        for entry in entries {
            let folder = entry?.path();
            if folder.join("bundle.sigstore.json").exists() {
                cases.push(Self::of(&place, folder)?);
            }
        }
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some(cases))
    }

    fn of(place: &Path, folder: PathBuf) -> anyhow::Result<Self> {
        let name = folder.file_name().context("no name")?.to_string_lossy().into_owned();
        let optional = |file: &str| Some(folder.join(file)).filter(|path| path.exists());
        let text = |file: &str, other: &str| match optional(file) {
            Some(path) => Ok::<_, anyhow::Error>(fs::read_to_string(path)?.trim().to_owned()),
            None => Ok(other.to_owned()),
        };
        Ok(Self {
            name,
            artifact: optional("artifact").unwrap_or_else(|| place.join("a.txt")),
            certificate: (text("identity", IDENTITY)?, text("issuer", ISSUER)?),
            key: optional("key.pub"),
            trusted_root: optional("trusted_root.json"),
            folder,
        })
    }

    pub fn bundle(&self) -> PathBuf {
        self.folder.join("bundle.sigstore.json")
    }

    /// Whether a verifier must refuse it.
    pub fn is_bad(&self) -> bool {
        self.name.ends_with("_fail")
    }

    /// The suite's own command line, without the program; `artifact` is a file or a digest.
    pub fn arguments(&self, artifact: &str) -> Vec<String> {
        let mut words = vec!["verify-bundle".to_owned(), "--bundle".to_owned(), text(&self.bundle())];
        match &self.key {
            Some(key) => words.extend(["--key".to_owned(), text(key)]),
            None => words.extend([
                "--certificate-identity".to_owned(),
                self.certificate.0.clone(),
                "--certificate-oidc-issuer".to_owned(),
                self.certificate.1.clone(),
            ]),
        }
        if let Some(root) = &self.trusted_root {
            words.extend(["--trusted-root".to_owned(), text(root)]);
        }
        words.push(artifact.to_owned());
        words
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
