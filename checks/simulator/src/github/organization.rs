//! The published calls about an organisation: its groups of runners, its repositories, and who may use which.

use axum::{
    Json, Router,
    extract::{Path, Query, State as Shared},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{
    repository::Page,
    rest::{Reply, admitted, refusal},
    server::Hub,
    state::State,
};

/// A group of an organisation's runners; as it is made, every repository that is not public may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub public: bool,
    /// Only these repositories, by their names alone.
    pub selected: Option<Vec<String>>,
}

impl Group {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), public: false, selected: None }
    }

    /// Whether jobs of a repository may go to its runners.
    pub fn serves(&self, name: &str, private: bool) -> bool {
        let is_selected =
            self.selected.as_ref().is_none_or(|all| all.iter().any(|one| one.eq_ignore_ascii_case(name)));
        is_selected && (private || self.public)
    }
}

pub fn routes() -> Router<Hub> {
    Router::new()
        .route("/orgs/{org}/actions/runner-groups", get(groups))
        .route("/orgs/{org}/actions/runner-groups/{id}/repositories", get(selected))
        .route("/orgs/{org}/repos", get(repositories))
}

async fn groups(Shared(hub): Shared<Hub>, Path(organization): Path<String>, headers: HeaderMap) -> Reply {
    let organization = admitted(&hub, &headers, &organization)?;
    let groups: Vec<Value> = hub
        .lock()
        .groups(&organization)
        .iter()
        .enumerate()
        .map(|(number, group)| {
            json!({
                "id": number + 1, "name": group.name, "default": number == 0, "inherited": false,
                "visibility": if group.selected.is_some() { "selected" } else { "all" },
                "runners_url": "http://localhost/", "allows_public_repositories": group.public,
                "restricted_to_workflows": false, "selected_workflows": [],
                "workflow_restrictions_read_only": false,
            })
        })
        .collect();
    Ok(Json(json!({ "total_count": groups.len(), "runner_groups": groups })).into_response())
}

async fn selected(
    Shared(hub): Shared<Hub>,
    Path((organization, id)): Path<(String, usize)>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let organization = admitted(&hub, &headers, &organization)?;
    let state = hub.lock();
    let group = id.checked_sub(1).and_then(|at| state.groups(&organization).get(at).cloned());
    let group = group.ok_or_else(|| refusal(404, "Not Found"))?;
    let Some(names) = group.selected else {
        return Err(refusal(404, "Not Found"));
    };
    let is_named = |name: &str| names.iter().any(|one| one.eq_ignore_ascii_case(name));
    let all = described(&state, &organization, is_named);
    Ok(Json(json!({ "total_count": all.len(), "repositories": page.of(all) })).into_response())
}

async fn repositories(
    Shared(hub): Shared<Hub>,
    Path(organization): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Reply {
    let organization = admitted(&hub, &headers, &organization)?;
    let all = described(&hub.lock(), &organization, |_| true);
    Ok(Json(page.of(all)).into_response())
}

fn described(state: &State, organization: &str, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
    let of_it = state.repositories.iter().filter_map(|(full, hosted)| {
        let (owner, name) = full.split_once('/')?;
        let api = format!("{}/api/v3/repos/{full}", state.url);
        let is_it = owner.eq_ignore_ascii_case(organization) && wanted(name);
        is_it.then(|| hosted.described(&api, owner, name))
    });
    of_it.collect()
}
