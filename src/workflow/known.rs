use super::expression::{Object, Value};
use crate::value::{Labels, RepositorySettings};

/// What is known of a repository and of the runner before any workflow is read.
#[derive(Debug, Clone)]
pub struct Known {
    /// The runner's labels, those that GitHub adds by itself among them.
    pub labels: Labels,
    /// The runner's group; a repository's own runners are in `Default`.
    pub group: String,
    /// `owner/name`
    pub repository: Option<String>,
    /// The variables of the repository and its organisation.
    pub variables: Variables,
    /// The repository's settings, when GitHub was asked.
    pub settings: Option<RepositorySettings>,
    /// Whether every job of the runner is given substituters.
    pub has_substituters: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Variables {
    pub values: Vec<(String, String)>,
    /// Whether there are no others.
    pub complete: bool,
}

/// The labels that GitHub gives to every runner of this system, whatever it is registered with.
pub const GIVEN_LABELS: [&str; 2] = ["self-hosted", "Linux"];

impl Known {
    /// A runner with these labels; `architecture` is GitHub's word for this machine's (`X64`, `ARM64`).
    pub fn of_runner(labels: &Labels, architecture: &str) -> Self {
        let given = GIVEN_LABELS.into_iter().chain([architecture]).map(str::to_owned);
        let all = given.chain(labels.iter().map(str::to_owned));
        Self {
            labels: Labels::new(all).unwrap_or_else(|_| labels.clone()),
            group: "Default".to_owned(),
            repository: None,
            variables: Variables::default(),
            settings: None,
            has_substituters: false,
        }
    }

    /// Whether strangers can start what a fork's pull request starts. In a private repository only who may read it has
    /// forks of it, and their workflows run only where that is allowed.
    pub fn lets_forks_run(&self) -> bool {
        match &self.settings {
            Some(RepositorySettings { private: true, forks: Some(forks), .. }) => forks.run,
            _ => true,
        }
    }

    /// Whether anyone with an account can see the repository, as far as is known.
    pub fn is_public(&self) -> bool {
        self.settings.as_ref().is_none_or(|settings| !settings.private)
    }

    /// The context `vars`.
    pub fn vars(&self) -> Value {
        let Variables { values, complete } = &self.variables;
        let fields = values.iter().map(|(name, value)| (name.clone(), Value::text(value))).collect();
        Value::Object(Object { fields, open: !complete })
    }
}
