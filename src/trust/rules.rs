//! `trust.toml`: who may publish, and what is demanded beyond a good signature.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Span, SpanRelativeTo};
use regex::bytes::Regex;
use semver::Version;

use super::{
    Error, Publisher,
    publisher::{GITHUB_ISSUER, whole},
    version,
};

/// What is demanded of an image, apart from the trusted root.
#[derive(Debug)]
pub struct Rules {
    /// `built in`, or the file.
    pub origin: String,
    pub publishers: Vec<Publisher>,
    pub provenance: ProvenanceRules,
    /// No image older than this one.
    pub minimum_version: Option<Version>,
    /// No signature older than this.
    pub max_age: Option<SignedDuration>,
    /// A private Sigstore's root, instead of the public one's.
    pub root: RootChoice,
}

/// What provenance must say. It is checked when it is there, and demanded when `required`.
#[derive(Debug, Default)]
pub struct ProvenanceRules {
    pub required: bool,
    /// Over the builder's id, as a whole.
    pub builder: Option<Regex>,
    pub source_repository: Option<String>,
    /// Over the source's ref (`refs/tags/v1`), as a whole.
    pub source_ref: Option<Regex>,
}

/// Where the trusted root comes from.
#[derive(Debug, Clone, Default)]
pub struct RootChoice {
    pub file: Option<PathBuf>,
    /// Never ask TUF for a newer one.
    pub pinned: bool,
    /// A TUF repository of one's own, and the root.json it starts from.
    pub tuf: Option<(String, PathBuf)>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            origin: "built in".to_owned(),
            publishers: Publisher::built_in(),
            provenance: ProvenanceRules::default(),
            minimum_version: None,
            max_age: None,
            root: RootChoice::default(),
        }
    }
}

/// The file's form.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    publisher: Vec<FilePublisher>,
    #[serde(default)]
    provenance: FileProvenance,
    #[serde(default)]
    image: FileImage,
    #[serde(default)]
    root: FileRoot,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FilePublisher {
    name: String,
    identity: Option<String>,
    issuer: Option<String>,
    key: Option<PathBuf>,
    reference: Option<String>,
    source_repository: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileProvenance {
    #[serde(default)]
    required: bool,
    builder: Option<String>,
    source_repository: Option<String>,
    source_ref: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileImage {
    minimum_version: Option<String>,
    max_age: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileRoot {
    trusted_root: Option<PathBuf>,
    #[serde(default)]
    pinned: bool,
    tuf: Option<String>,
    tuf_root: Option<PathBuf>,
}

impl Rules {
    /// Read a policy file; a path in it is relative to the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let refuse = |line, why| Error::Rules { path: path.to_owned(), line, why };
        let text = fs::read_to_string(path).map_err(|why| refuse(None, why.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            refuse(line, error.message().to_owned())
        })?;
        let rules = file.check(path).map_err(|why| match why {
            Wrong::Here(why) => refuse(None, why),
            Wrong::Error(error) => *error,
        })?;
        Ok(rules)
    }
}

/// What is wrong with a value: said with the file's name, or an error of its own.
enum Wrong {
    Here(String),
    Error(Box<Error>),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

impl File {
    fn check(self, path: &Path) -> Result<Rules, Wrong> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let publishers = self.publisher.iter().map(|one| one.check(folder)).collect::<Result<Vec<_>, _>>()?;
        let Self { provenance, image, root, .. } = self;
        let expression = |key: &str, given: Option<String>| {
            given
                .map(|given| {
                    whole(&given)
                        .map_err(|why| Wrong::Here(format!("{key}: not a regular expression: {why}")))
                })
                .transpose()
        };
        let tuf = match (root.tuf, root.tuf_root) {
            (Some(url), Some(file)) => Some((url, folder.join(file))),
            (None, None) => None,
            _ => return Err(Wrong::Here("root.tuf and root.tuf-root belong together".to_owned())),
        };
        Ok(Rules {
            origin: path.display().to_string(),
            // A file that demands more, and names nobody, goes on trusting the built-in publishers.
            publishers: if publishers.is_empty() { Publisher::built_in() } else { publishers },
            provenance: ProvenanceRules {
                required: provenance.required,
                builder: expression("provenance.builder", provenance.builder)?,
                source_repository: provenance.source_repository,
                source_ref: expression("provenance.source-ref", provenance.source_ref)?,
            },
            minimum_version: image.minimum_version.map(|given| minimum(&given)).transpose()?,
            max_age: image.max_age.map(|given| age(&given)).transpose()?,
            root: RootChoice {
                file: root.trusted_root.map(|file| folder.join(file)),
                pinned: root.pinned,
                tuf,
            },
        })
    }
}

impl FilePublisher {
    fn check(&self, folder: &Path) -> Result<Publisher, Wrong> {
        let wrong = |why: &str| Err(Wrong::Here(format!("publisher {}: {why}", self.name)));
        let mut publisher = match (&self.identity, &self.key) {
            (Some(_), Some(_)) => return wrong("it has an identity and a key; write one of them"),
            (None, None) => return wrong("it has neither an identity nor a key"),
            (None, Some(_)) if self.issuer.is_some() => return wrong("a key has no issuer"),
            (None, Some(key)) => Publisher::key(&self.name, &folder.join(key))?,
            (Some(identity), None) => {
                let issuer = self.issuer.as_deref().unwrap_or(GITHUB_ISSUER);
                Publisher::workflow(&self.name, identity, issuer)?
            }
        };
        publisher.reference.clone_from(&self.reference);
        publisher.source_repository.clone_from(&self.source_repository);
        Ok(publisher)
    }
}

fn minimum(given: &str) -> Result<Version, Wrong> {
    version::parse(given).ok_or_else(|| {
        Wrong::Here(format!("image.minimum-version: '{given}' is not a version such as 1.2.3"))
    })
}

/// `90d`, `12w`, `1y`: days are of 24 hours.
fn age(given: &str) -> Result<SignedDuration, Wrong> {
    let refuse = || Wrong::Here(format!("image.max-age: '{given}' is not a time such as 90d or 12w"));
    let span: Span = given.parse().map_err(|_| refuse())?;
    let age = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| refuse())?;
    if age.is_positive() { Ok(age) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Rules;

    fn read(text: &str) -> Result<Rules, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.toml");
        fs::write(&path, text).unwrap();
        let shown = folder.path().display().to_string();
        Rules::read(&path).map_err(|error| error.to_string().replace(&shown, ""))
    }

    #[test]
    fn a_whole_file_is_read() {
        let rules = read(
            "[[publisher]]\nname = \"us\"\nidentity = \"https://github.com/octo/image/.*\"\n\
             [provenance]\nrequired = true\nsource-repository = \"https://github.com/octo/image\"\n\
             source-ref = \"refs/tags/v.*\"\n[image]\nminimum-version = \"v1.2.0\"\nmax-age = \"90d\"\n",
        )
        .unwrap();
        assert_eq!(rules.publishers.len(), 1);
        assert_eq!(rules.minimum_version.unwrap().to_string(), "1.2.0");
        assert_eq!(rules.max_age.unwrap().as_hours(), 90 * 24);
        assert!(rules.provenance.required);
    }

    #[test]
    fn a_file_that_names_nobody_trusts_the_built_in_publishers() {
        assert_eq!(read("[provenance]\nrequired = true\n").unwrap().publishers.len(), 2);
    }

    #[test]
    fn what_is_wrong_names_the_file_and_the_line_or_the_key() {
        for (text, said) in [
            ("[image]\n\nmax-aeg = \"1d\"\n", "/trust.toml:3: "),
            ("[image]\nmax-age = \"soon\"\n", "image.max-age: 'soon'"),
            ("[image]\nmax-age = \"-1d\"\n", "image.max-age: '-1d'"),
            ("[image]\nminimum-version = \"new\"\n", "image.minimum-version: 'new'"),
            ("[[publisher]]\nname = \"me\"\n", "publisher me: it has neither"),
            (
                "[[publisher]]\nname = \"me\"\nidentity = \"a\"\nkey = \"b\"\n",
                "publisher me: it has an identity and a key",
            ),
            ("[[publisher]]\nname = \"me\"\nidentity = \"(\"\n", "'(' is not a regular expression"),
            (
                "[[publisher]]\nname = \"me\"\nkey = \"cosign.pub\"\n",
                "the public key /cosign.pub cannot be used",
            ),
            ("[provenance]\nbuilder = \"[\"\n", "provenance.builder: not a regular expression"),
            ("[root]\ntuf = \"https://tuf.example\"\n", "root.tuf and root.tuf-root belong together"),
            ("a = = 1\n", "/trust.toml:1: "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
