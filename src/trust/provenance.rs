//! SLSA provenance: where an image was built, from what, by whom.

use serde_json::Value;

use super::{Refusal, Signature, Signer, rules::ProvenanceRules, statement::Statement};

const V1: &str = "https://slsa.dev/provenance/v1";
const V02: &str = "https://slsa.dev/provenance/v0.2";

/// What a provenance says, once its signature was found good.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    pub predicate_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<String>,
    pub signature: Signature,
}

/// Whether a statement of this type is provenance.
pub fn is_provenance(predicate_type: &str) -> bool {
    [V1, V02].contains(&predicate_type)
}

impl Provenance {
    /// Read a provenance whose `signature` was found good.
    pub fn read(statement: &Statement, signature: Signature) -> Self {
        let text = |pointer: &str| statement.predicate.pointer(pointer).and_then(Value::as_str);
        let (builder, repository, reference) = if statement.predicate_type == V1 {
            let workflow = "/buildDefinition/externalParameters/workflow";
            (
                text("/runDetails/builder/id"),
                text(&format!("{workflow}/repository")),
                text(&format!("{workflow}/ref")),
            )
        } else {
            // `git+https://github.com/owner/repo@refs/tags/v1`
            let source = text("/invocation/configSource/uri").map(|uri| uri.trim_start_matches("git+"));
            let split = source.and_then(|source| source.rsplit_once('@'));
            (
                text("/builder/id"),
                split.map(|(repository, _)| repository).or(source),
                split.map(|(_, reference)| reference),
            )
        };
        Self {
            predicate_type: statement.predicate_type.clone(),
            builder: builder.map(str::to_owned),
            source_repository: repository.map(str::to_owned),
            source_ref: reference.map(str::to_owned),
            signature,
        }
    }

    /// What it says must be what its certificate says, and what `rules` demand.
    pub fn check(&self, rules: &ProvenanceRules) -> Result<(), Refusal> {
        if let Signer::Certificate(certificate) = &self.signature.signer {
            agree(
                "source repository",
                self.source_repository.as_ref(),
                certificate.source_repository.as_ref(),
            )?;
            agree("source ref", self.source_ref.as_ref(), certificate.source_ref.as_ref())?;
        }
        let shown = |found: Option<&String>| found.map_or("nothing", String::as_str).to_owned();
        let demand = |what: &str, found: Option<&String>, good: bool| {
            if good {
                return Ok(());
            }
            Err(Refusal(format!(
                "its provenance names {} as its {what}, which is not what the policy demands",
                shown(found)
            )))
        };
        if let Some(builder) = &rules.builder {
            let good = self.builder.as_ref().is_some_and(|found| builder.is_match(found.as_bytes()));
            demand("builder", self.builder.as_ref(), good)?;
        }
        if let Some(wanted) = &rules.source_repository {
            let good = self.source_repository.as_ref() == Some(wanted);
            demand("source repository", self.source_repository.as_ref(), good)?;
        }
        if let Some(wanted) = &rules.source_ref {
            let good = self.source_ref.as_ref().is_some_and(|found| wanted.is_match(found.as_bytes()));
            demand("source ref", self.source_ref.as_ref(), good)?;
        }
        Ok(())
    }
}

/// A statement is its author's word, the certificate is Fulcio's: where both speak they must say the same.
fn agree(what: &str, said: Option<&String>, certified: Option<&String>) -> Result<(), Refusal> {
    match (said, certified) {
        (Some(said), Some(certified)) if said != certified => Err(Refusal(format!(
            "its provenance names {said} as its {what}, but its certificate {certified}"
        ))),
        _ => Ok(()),
    }
}
