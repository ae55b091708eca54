//! `provenance`: where a path was built.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr as _,
};

use anyhow::{Context as _, bail};
use harmonia_store_core::{
    signature::PublicKey,
    store_path::{StoreDir, StorePath},
};
use serde_json::Value;

use super::steps::subject::Subject;
use crate::{
    cache::{
        key::public_path,
        place::Place,
        provenance::{self, Envelope},
        queue::Queue,
    },
    installation::Places,
    progress::{Output, printable},
};

/// Show where a store path was built: which job, from which image, under which caps
///
/// Every build that a runner pushes gets a statement in in-toto's form with SLSA's provenance, signed with the key that signs
/// the path. It is kept here, beside the queue, and lies beside the narinfo in a plain binary cache. It says where a build
/// ran: whether to believe what it made is another matter.
///
/// Exit codes: 0 found, 1 not found, 3 the signature is not by a key that was given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder provenance ./result
  vega-builder provenance /nix/store/…-hello --from https://cache.example.org --key octo-org-1:JMOk…")]
pub struct ProvenanceCommand {
    /// The store path, or a link to it
    path: String,
    /// The cache to ask, instead of this host's runners and its own cache
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// A public key, one of which must have signed it, as in trusted-public-keys
    #[arg(long, value_name = "KEY")]
    key: Vec<PublicKey>,
    /// How to report; json is the statement itself
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl ProvenanceCommand {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let path = named(&self.path)?;
        let Some((place, envelope)) = self.find(&path).await? else {
            bail!(
                "nothing is known of where {path} was built: no runner here has pushed it{}",
                if self.from.is_none() { "; --from asks another cache" } else { " to that cache" }
            );
        };
        let own = own_key();
        let signer = match &own {
            _ if !self.key.is_empty() => Some(envelope.signer(&self.key)?),
            Some(own) => envelope.signer(std::slice::from_ref(own)).ok(),
            None => None,
        };
        let statement = envelope.statement()?;
        if !is_about(&statement, &path) {
            bail!("what {place} has under the name of {path} is about another path");
        }
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&statement)?),
            Output::Text => {
                print(&path, &statement);
                let by = match signer {
                    Some(key) if self.key.is_empty() => format!("by {}, this host's own key", key.name()),
                    Some(key) => format!("by {}, as it must be", key.name()),
                    None => "not checked; --key does".to_owned(),
                };
                line("signature", &by);
                line("from", &place);
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The first place that has one.
    async fn find(&self, path: &StorePath) -> anyhow::Result<Option<(String, Envelope)>> {
        if let Some(from) = &self.from {
            return in_cache(from, path).await;
        }
        for installation in Places::standard().installed() {
            let Ok(Subject { housing, installation, .. }) = Subject::of(installation) else { continue };
            if let Some(envelope) = housing
                .queue(&installation)
                .ok()
                .flatten()
                .and_then(|queue: PathBuf| Queue::provenance(&queue, path))
            {
                return Ok(Some((format!("the runner {}", installation.name), envelope)));
            }
        }
        in_cache(super::push::DEFAULT_CACHE, path).await
    }
}

/// The public half of the key with which this host signs where a path was built, when it has one.
fn own_key() -> Option<PublicKey> {
    let file = public_path(&Places::standard().host_key());
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

async fn in_cache(url: &str, path: &StorePath) -> anyhow::Result<Option<(String, Envelope)>> {
    let place = Place::at(url, None)?;
    let Some(text) = place.get(&provenance::name(path)).await? else { return Ok(None) };
    let envelope = serde_json::from_slice(&text)
        .with_context(|| format!("what {} has of {path} is no provenance", place.shown))?;
    Ok(Some((place.shown, envelope)))
}

/// A path by its name, by its base name, or by a link to it or into it.
fn named(given: &str) -> anyhow::Result<StorePath> {
    let store = StoreDir::default();
    let inside = |path: &Path| {
        let rest = path.strip_prefix(store.to_path()).ok()?;
        StorePath::from_str(rest.iter().next()?.to_str()?).ok()
    };
    let real = fs::canonicalize(given).ok();
    inside(Path::new(given))
        .or_else(|| real.as_deref().and_then(inside))
        .or_else(|| StorePath::from_str(given).ok())
        .with_context(|| format!("'{given}' is no store path, and no link to one"))
}

/// A cache can lay any statement under any name.
fn is_about(statement: &Value, path: &StorePath) -> bool {
    let name = StoreDir::default().display(path).to_string();
    statement["subject"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == name.as_str()))
}

fn print(path: &StorePath, statement: &Value) {
    anstream::println!("{path}");
    let text = |pointer: &str| {
        let value = statement.pointer(&format!("/predicate/{pointer}"))?;
        value
            .as_str()
            .map_or_else(|| (!value.is_null()).then(|| value.to_string()), |text| Some(text.to_owned()))
    };
    let image = || {
        let image = &statement["predicate"]["buildDefinition"]["resolvedDependencies"][0];
        Some(format!("{}@sha256:{}", image["uri"].as_str()?, image["digest"]["sha256"].as_str()?))
    };
    for (name, value) in [
        ("derivation", text("buildDefinition/externalParameters/derivation")),
        ("repository", text("buildDefinition/externalParameters/repository")),
        ("commit", text("buildDefinition/externalParameters/commit")),
        ("ref", text("buildDefinition/externalParameters/ref")),
        ("workflow", text("buildDefinition/externalParameters/workflow")),
        ("job", text("buildDefinition/externalParameters/job")),
        ("run", text("runDetails/metadata/invocationId")),
        ("finished", text("runDetails/metadata/finishedOn")),
        ("runner", text("buildDefinition/internalParameters/runner")),
        ("image", image().or_else(|| Some("none: on the host itself".to_owned()))),
        (if image().is_some() { "signed by" } else { "see" }, text("runDetails/builder/id")),
        ("caps", text("buildDefinition/internalParameters/caps")),
        ("sandbox", text("buildDefinition/internalParameters/sandbox")),
    ] {
        line(name, &value.unwrap_or_else(|| "not known".to_owned()));
    }
}

fn line(name: &str, text: &str) {
    anstream::println!("  {name:12} {}", printable(text));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_about, named};

    const A: &str = "00000000000000000000000000000000-a";

    #[test]
    fn a_path_is_known_by_its_name_by_a_file_in_it_and_by_a_link() {
        let whole = format!("/nix/store/{A}");
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("result");
        std::os::unix::fs::symlink(&whole, &link).unwrap();
        for given in [A, &whole, &format!("{whole}/bin/x")] {
            assert_eq!(named(given).unwrap().to_string(), A, "{given}");
        }
        assert!(named("/tmp").unwrap_err().to_string().contains("no store path"));
    }

    #[test]
    fn a_statement_of_another_path_under_this_ones_name_is_seen() {
        let path = A.parse().unwrap();
        assert!(is_about(&json!({ "subject": [{ "name": format!("/nix/store/{A}") }] }), &path));
        assert!(!is_about(&json!({ "subject": [{ "name": "/nix/store/x" }] }), &path));
        assert!(!is_about(&json!({}), &path));
    }
}
