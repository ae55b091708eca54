use std::{fmt, str::FromStr};

/// A repository on GitHub, `owner/name`, in the letters that GitHub allows for both. Two spellings that differ in
/// case only are one repository there, and here.
#[derive(Debug, Clone, Eq, serde::Serialize)]
#[serde(into = "String")]
pub struct Repository {
    owner: String,
    name: String,
}

impl PartialEq for Repository {
    fn eq(&self, other: &Self) -> bool {
        self.owner.eq_ignore_ascii_case(&other.owner) && self.name.eq_ignore_ascii_case(&other.name)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("'{given}' is not a repository: {why}; write it as OWNER/NAME, e.g. octo-org/heavy-builds")]
pub struct RepositoryError {
    given: String,
    why: &'static str,
}

impl Repository {
    pub fn owner(&self) -> &str {
        &self.owner
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

pub(super) fn check_owner(owner: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match () {
        () if owner.is_empty() => Err("the owner is empty"),
        () if owner.len() > 39 => Err("the owner is longer than 39 characters"),
        () if owner.starts_with('-') => Err("an owner does not start with a hyphen"),
        () if !owner.chars().all(allowed) => Err("an owner has letters, digits and hyphens only"),
        () => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match () {
        () if name.is_empty() => Err("the name is empty"),
        () if name.len() > 100 => Err("the name is longer than 100 characters"),
        () if name == "." || name == ".." => Err("the name is reserved"),
        () if !name.chars().all(allowed) => {
            Err("a name has letters, digits, hyphens, underscores and dots only")
        }
        () => Ok(()),
    }
}

impl FromStr for Repository {
    type Err = RepositoryError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let refuse = |why| RepositoryError { given: given.to_owned(), why };
        let (owner, name) = given.split_once('/').ok_or_else(|| refuse("it has no slash"))?;
        if name.contains('/') {
            return Err(refuse("it has more than one slash"));
        }
        check_owner(owner).map_err(refuse)?;
        check_name(name).map_err(refuse)?;
        Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl From<Repository> for String {
    fn from(repository: Repository) -> Self {
        repository.to_string()
    }
}

impl<'de> serde::Deserialize<'de> for Repository {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Repository;

    #[test]
    fn two_spellings_of_one_repository_are_the_same() {
        let parse = |text: &str| text.parse::<Repository>().unwrap();
        assert_eq!(parse("Octo/Heavy"), parse("octo/heavy"));
        assert_ne!(parse("octo/heavy"), parse("octo/heavier"));
    }

    #[test]
    fn owner_and_name_are_taken_apart() {
        let repository: Repository = "octo-org/heavy.builds_2".parse().unwrap();
        assert_eq!((repository.owner(), repository.name()), ("octo-org", "heavy.builds_2"));
        assert_eq!(repository.to_string(), "octo-org/heavy.builds_2");
    }

    #[test]
    fn what_github_would_not_take_is_refused_with_the_reason() {
        for (given, why) in [
            ("octo", "no slash"),
            ("a/b/c", "more than one slash"),
            ("/b", "owner is empty"),
            ("a/", "name is empty"),
            ("-a/b", "hyphen"),
            ("a/..", "reserved"),
            ("a b/c", "letters, digits and hyphens only"),
            ("a/b;rm", "letters, digits, hyphens, underscores and dots only"),
            ("https://github.com/a/b", "more than one slash"),
        ] {
            let error = given.parse::<Repository>().unwrap_err().to_string();
            assert!(error.contains(why), "{given}: {error}");
            assert!(error.contains("OWNER/NAME"), "{given}: {error}");
        }
    }
}
