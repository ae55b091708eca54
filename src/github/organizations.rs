//! An organisation's groups of runners, and which of its repositories may use one.

use serde::Deserialize;

use super::{Error, GitHub, Operation};
use crate::value::{Organization, Repository};

/// A group of runners, as far as it says who may use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Group {
    pub id: u64,
    pub name: String,
    visibility: Visibility,
    default: bool,
    allows_public_repositories: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    /// Every repository.
    All,
    /// Every one that is not public.
    Private,
    /// Those that it names.
    Selected,
}

#[derive(Deserialize)]
struct Groups {
    runner_groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Listed {
    full_name: Repository,
    private: bool,
    #[serde(default)]
    archived: bool,
}

#[derive(Deserialize)]
struct Selected {
    repositories: Vec<Listed>,
}

const PAGE: usize = 100;
/// Each of them is asked for its settings and for every branch's workflows.
const MOST_PAGES: usize = 5;

impl GitHub<Organization> {
    /// The group of this name; without one that which runners join by themselves.
    ///
    /// Source: `GET /orgs/{org}/actions/runner-groups`.
    pub async fn group(&self, name: Option<&str>) -> Result<Group, Error> {
        let operation = Operation::ReadGroups;
        let reply = self.read(operation, &self.route("/actions/runner-groups?per_page=100")).await?;
        let groups: Groups = self.parsed(operation, &reply)?;
        let is_it = |group: &&Group| match name {
            Some(name) => group.name.eq_ignore_ascii_case(name),
            None => group.default,
        };
        groups.runner_groups.iter().find(is_it).cloned().ok_or_else(|| Error::NoGroup {
            organization: self.subject.to_string(),
            wanted: name.unwrap_or("Default").to_owned(),
            have: groups.runner_groups.iter().map(|group| group.name.clone()).collect(),
        })
    }

    /// The repositories whose jobs may come to a runner of this group: an archived one has none.
    ///
    /// Source: `GET /orgs/{org}/actions/runner-groups/{id}/repositories`, `GET /orgs/{org}/repos`.
    pub async fn repositories_of(&self, group: &Group) -> Result<Vec<Repository>, Error> {
        let operation = Operation::ListRepositories;
        let is_selected = group.visibility == Visibility::Selected;
        let takes_public = group.allows_public_repositories && group.visibility != Visibility::Private;
        let mut all = Vec::new();
        for number in 1..=MOST_PAGES {
            let query = format!("per_page={PAGE}&page={number}");
            let listed = if is_selected {
                let route = self.route(&format!("/actions/runner-groups/{}/repositories?{query}", group.id));
                self.parsed::<Selected>(operation, &self.read(operation, &route).await?)?.repositories
            } else {
                let route = self.route(&format!("/repos?type=all&{query}"));
                self.parsed(operation, &self.read(operation, &route).await?)?
            };
            let is_last = listed.len() < PAGE;
            let may = |one: &Listed| !one.archived && (one.private || takes_public);
            all.extend(listed.into_iter().filter(may).map(|one| one.full_name));
            if is_last {
                return Ok(all);
            }
        }
        Err(Error::TooManyRepositories {
            organization: self.subject.to_string(),
            group: group.name.clone(),
            most: MOST_PAGES * PAGE,
        })
    }
}
