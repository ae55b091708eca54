use std::{fmt, str::FromStr};

/// The labels of a runner, in order, without repetition (GitHub compares them without case).
///
/// A job runs here when *all* its `runs-on` labels are among them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Labels(Vec<String>);

#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    #[error("the list of labels is empty; give at least one, e.g. --labels self-hosted,vega")]
    Empty,
    #[error(
        "'{0}' is not a label: letters, digits, hyphens, underscores, dots, colons and plus signs only, \
         at most 256 of them"
    )]
    Malformed(String),
}

impl Labels {
    pub fn new(given: impl IntoIterator<Item = String>) -> Result<Self, LabelError> {
        let mut labels: Vec<String> = Vec::new();
        for label in given {
            let label = label.trim();
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:+".contains(c);
            if label.is_empty() || label.len() > 256 || !label.chars().all(allowed) {
                return Err(LabelError::Malformed(label.to_owned()));
            }
            if !labels.iter().any(|known| known.eq_ignore_ascii_case(label)) {
                labels.push(label.to_owned());
            }
        }
        if labels.is_empty() { Err(LabelError::Empty) } else { Ok(Self(labels)) }
    }

    /// Those of a runner to which nobody gave others.
    pub fn usual() -> Self {
        Self(vec!["self-hosted".to_owned(), "vega".to_owned()])
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether both name the same set (GitHub keeps neither order nor case).
    pub fn same_set(&self, other: &Self) -> bool {
        let has = |labels: &Self, wanted: &str| labels.iter().any(|l| l.eq_ignore_ascii_case(wanted));
        self.iter().all(|label| has(other, label)) && other.iter().all(|label| has(self, label))
    }
}

impl FromStr for Labels {
    type Err = LabelError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        Self::new(given.split(',').map(str::to_owned))
    }
}

impl TryFrom<Vec<String>> for Labels {
    type Error = LabelError;

    fn try_from(given: Vec<String>) -> Result<Self, Self::Error> {
        Self::new(given)
    }
}

impl From<Labels> for Vec<String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// The name under which GitHub lists the runner; stable, because `--replace` reclaims it by name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunnerName(String);

#[derive(Debug, thiserror::Error)]
#[error(
    "'{0}' is not a runner's name: letters, digits, hyphens, underscores and dots only, starting with a \
     letter or digit, at most 64 of them, and no .next, .before, .seed, .preflight, .pusher or .update at its end"
)]
pub struct RunnerNameError(String);

/// What stands beside a runner is called after it: no runner's own name may be that.
const BESIDE: [&str; 6] = [".next", ".before", ".seed", ".preflight", ".pusher", ".update"];

impl RunnerName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunnerName {
    type Err = RunnerNameError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let starts_well = given.starts_with(|c: char| c.is_ascii_alphanumeric());
        let is_beside = BESIDE.iter().any(|suffix| given.ends_with(suffix));
        if !starts_well || given.len() > 64 || !given.chars().all(allowed) || is_beside {
            return Err(RunnerNameError(given.to_owned()));
        }
        Ok(Self(given.to_owned()))
    }
}

impl TryFrom<String> for RunnerName {
    type Error = RunnerNameError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<RunnerName> for String {
    fn from(name: RunnerName) -> Self {
        name.0
    }
}

impl fmt::Display for RunnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Labels, RunnerName};

    #[test]
    fn labels_keep_their_order_and_drop_repetitions() {
        let labels: Labels = "self-hosted, vega,VEGA".parse().unwrap();
        assert_eq!(labels.to_string(), "self-hosted,vega");
    }

    #[test]
    fn sets_of_labels_compare_without_order_and_case() {
        let ours: Labels = "self-hosted,vega".parse().unwrap();
        assert!(ours.same_set(&"Vega,self-hosted".parse().unwrap()));
        assert!(!ours.same_set(&"self-hosted,vega,big".parse().unwrap()));
    }

    #[test]
    fn characters_that_a_shell_or_a_header_would_read_are_refused() {
        for given in ["", "a,,b", "a b", "a;b", "a\"b", "ä", "a\nb", "$(x)"] {
            assert!(given.parse::<Labels>().is_err(), "{given:?}");
        }
        for given in [
            "",
            "-a",
            ".a",
            "a/b",
            "a b",
            &"a".repeat(65),
            "a.next",
            "a.before",
            "a.seed",
            "a.preflight",
            "a.pusher",
        ] {
            assert!(given.parse::<RunnerName>().is_err(), "{given:?}");
        }
    }
}
