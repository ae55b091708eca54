//! `.vega-lint.toml`: findings that somebody has a reason to leave as they are.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::files::read;
use crate::workflow::{self, Finding, Lines, Set};

const FILE: &str = ".vega-lint.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ignores {
    #[serde(default)]
    ignore: Vec<Ignore>,
}

/// Leave the findings of one rule, in one file or in all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ignore {
    rule: String,
    /// From the repository's root.
    file: Option<String>,
    reason: String,
}

impl Ignores {
    pub fn read(root: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = root.map(|root| root.join(FILE)) else { return Ok(Self::default()) };
        if !path.try_exists().unwrap_or(true) {
            return Ok(Self::default());
        }
        let text = match read(&path)? {
            Ok(text) => text,
            Err(why) => bail!("{} is {why}", path.display()),
        };
        Self::parse(&text).with_context(|| format!("{} is not as it should be", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let ignores: Self = toml::from_str(text).map_err(|why| {
            let at = why.span().map_or(0, |span| span.start);
            let (line, _) = Lines::of(text).line_and_column(text, at);
            anyhow::anyhow!("line {line}: {}", why.message())
        })?;
        for Ignore { rule, reason, .. } in &ignores.ignore {
            if !workflow::rules().any(|known| known.id == rule) {
                bail!("there is no rule '{rule}'; `vega-builder lint --explain all` names them");
            }
            if reason.trim().is_empty() {
                bail!("the ignore of '{rule}' needs a reason: the next reader will ask for it");
            }
        }
        Ok(ignores)
    }

    pub fn len(&self) -> usize {
        self.ignore.len()
    }

    /// The number and the reason of the ignore that meets a finding.
    pub fn of(&self, finding: &Finding, set: &Set) -> Option<(usize, &str)> {
        let meets = |ignore: &&Ignore| {
            ignore.rule == finding.rule.id
                && ignore.file.as_ref().is_none_or(|file| file == finding.path(set))
        };
        let number = self.ignore.iter().position(|ignore| meets(&ignore))?;
        Some((number, &self.ignore[number].reason))
    }

    /// Those that met nothing.
    pub fn idle(&self, met: &[bool]) -> Vec<String> {
        let idle = self.ignore.iter().zip(met).filter(|(_, met)| !**met);
        idle.map(|(ignore, _)| match &ignore.file {
            Some(file) => format!("{} in {file}", ignore.rule),
            None => ignore.rule.clone(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Ignores;

    #[test]
    fn an_ignore_names_a_rule_and_gives_a_reason() {
        assert!(Ignores::parse("[[ignore]]\nrule = 'no-timeout'\nreason = 'it has its own'\n").is_ok());
        for (text, why) in [
            ("[[ignore]]\nrule = 'no-timeout'\n", "missing field `reason`"),
            ("[[ignore]]\nrule = 'no-timeout'\nreason = ' '\n", "needs a reason"),
            ("[[ignore]]\nrule = 'timeout'\nreason = 'x'\n", "no rule 'timeout'"),
            ("[[ignore]]\nrule = 'no-timeout'\nreason = 'x'\nline = 3\n", "unknown field `line`"),
        ] {
            let refused = format!("{:#}", Ignores::parse(text).unwrap_err());
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
