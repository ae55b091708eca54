//! `--online`: a folder's workflows, with what GitHub knows of everything that they name.

use super::{
    files::Folder,
    judged, log_in,
    report::Checked,
    repository::{Fetched, OfBranches, follow},
};
use crate::{
    config::GitHubSettings,
    workflow::{self, Actions, Known, Reference, Set},
};

pub async fn checked(
    set: Set,
    known: &Known,
    folder: &Folder,
    settings: &GitHubSettings,
) -> anyhow::Result<Checked> {
    let found = workflow::reach(&set, known);
    let mut named = set.missing();
    named.extend(workflow::actions_used(&set, known, &found));
    // Who names nobody else's needs no login.
    let Some(other) = named.iter().find_map(|uses| Reference::parse(uses)?.repository.parse().ok()) else {
        return Ok(judged(set, found, known, folder));
    };
    let github = log_in(settings, &other).await?;
    let mut all = [OfBranches { branches: Vec::new(), set }];
    follow(&github, &mut all).await?;
    let [OfBranches { set, .. }] = all;
    let found = workflow::reach(&set, known);
    let uses = workflow::actions_used(&set, known, &found);
    let fetched = Fetched::read(&github, None, uses).await?;
    Ok(judged(set, found, known, &Both { folder, fetched }))
}

/// The folder tells of its own actions, GitHub of the others'.
#[derive(Debug)]
struct Both<'a> {
    folder: &'a Folder,
    fetched: Fetched,
}

impl Actions for Both<'_> {
    fn using(&self, uses: &str) -> Option<String> {
        self.folder.using(uses).or_else(|| self.fetched.using(uses))
    }

    fn commit(&self, uses: &str) -> Option<String> {
        self.fetched.commit(uses)
    }

    fn flake_names_substituter(&self) -> bool {
        self.folder.flake_names_substituter()
    }
}
