use std::{fmt, str::FromStr};

use super::{Repository, RepositoryError, repository::check_owner};

/// An organisation on GitHub.
#[derive(Debug, Clone, Eq, serde::Serialize)]
#[serde(into = "String")]
pub struct Organization(String);

impl PartialEq for Organization {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("'{given}' is not an organisation: {why}; write its name alone, e.g. octo-org")]
pub struct OrganizationError {
    given: String,
    why: &'static str,
}

impl Organization {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Organization {
    type Err = OrganizationError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let refuse = |why| OrganizationError { given: given.to_owned(), why };
        if given.contains('/') {
            return Err(refuse("it has a slash, as a repository has"));
        }
        check_owner(given).map_err(refuse)?;
        Ok(Self(given.to_owned()))
    }
}

impl fmt::Display for Organization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Organization> for String {
    fn from(organization: Organization) -> Self {
        organization.0
    }
}

/// Where a runner is registered, and so whose jobs it takes: a repository's, or those of an organisation's
/// repositories. Written as `owner/name`, or as the organisation's name alone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(into = "String")]
pub enum Scope {
    Repository(Repository),
    Organization(Organization),
}

impl Scope {
    pub fn owner(&self) -> &str {
        match self {
            Self::Repository(repository) => repository.owner(),
            Self::Organization(organization) => organization.as_str(),
        }
    }

    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Repository(repository) => Some(repository),
            Self::Organization(_) => None,
        }
    }

    /// The last part of its name.
    pub fn short(&self) -> &str {
        match self {
            Self::Repository(repository) => repository.name(),
            Self::Organization(organization) => organization.as_str(),
        }
    }

    /// How it is typed after `up` or `install`.
    pub fn argument(&self) -> String {
        match self {
            Self::Repository(repository) => repository.to_string(),
            Self::Organization(organization) => format!("--organization {organization}"),
        }
    }

    /// Whether a job of this repository is one of ours.
    pub fn holds(&self, of: &Repository) -> bool {
        match self {
            Self::Repository(repository) => repository == of,
            Self::Organization(organization) => organization.as_str().eq_ignore_ascii_case(of.owner()),
        }
    }
}

impl FromStr for Scope {
    type Err = RepositoryError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match given.parse() {
            Ok(organization) => Ok(Self::Organization(organization)),
            Err(_) => given.parse().map(Self::Repository),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(repository) => repository.fmt(f),
            Self::Organization(organization) => organization.fmt(f),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Organization, Scope};

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn a_repository_takes_its_own_jobs_and_an_organisation_those_of_all_of_its_repositories() {
        for (ours, job, holds) in [
            ("octo/heavy", "Octo/Heavy", true),
            ("octo/heavy", "octo/heavier", false),
            ("octo", "Octo/anything", true),
            ("octo", "octocat/heavy", false),
            ("octo", "mallory/octo", false),
        ] {
            assert_eq!(scope(ours).holds(&job.parse().unwrap()), holds, "{job} at {ours}");
        }
    }

    #[test]
    fn it_is_kept_as_it_is_written() {
        for text in ["octo/heavy", "octo-org"] {
            assert_eq!(serde_json::to_string(&scope(text)).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Scope>(&format!("\"{text}\"")).unwrap(), scope(text));
        }
    }

    #[test]
    fn what_is_no_organisation_is_refused_with_the_reason() {
        for (given, why) in [("octo/heavy", "slash"), ("", "empty"), ("-a", "hyphen"), ("a b", "letters")] {
            assert!(given.parse::<Organization>().unwrap_err().to_string().contains(why), "{given}");
        }
    }
}
