//! The published calls about a repository: what it is, its branches and files, its settings and variables.

use axum::{
    Json, Router,
    extract::{Path, Query, State as Shared},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    hosted::Hosted,
    rest::{Reply, admitted, refusal, seen},
    server::Hub,
};

pub fn routes() -> Router<Hub> {
    let root = "/repos/{owner}/{repo}";
    let actions = format!("{root}/actions");
    Router::new()
        .route(root, get(describe))
        .route(&format!("{root}/branches"), get(branches))
        .route(&format!("{root}/branches/{{branch}}"), get(branch))
        .route(&format!("{root}/commits/{{reference}}"), get(commit))
        .route(&format!("{root}/contents/{{*path}}"), get(contents))
        .route(&format!("{root}/collaborators"), get(collaborators))
        .route(&format!("{actions}/permissions/fork-pr-contributor-approval"), get(approval))
        .route(&format!("{actions}/permissions/fork-pr-workflows-private-repos"), get(forks))
        .route(&format!("{actions}/permissions/workflow"), get(token))
        .route(&format!("{actions}/variables"), get(variables))
        .route(&format!("{actions}/organization-variables"), get(organization_variables))
}

type At = Path<(String, String)>;

#[derive(Deserialize)]
pub struct Page {
    per_page: Option<usize>,
    page: Option<usize>,
}

impl Page {
    pub fn of(&self, all: Vec<Value>) -> Vec<Value> {
        let (size, page) = (self.per_page.unwrap_or(30).clamp(1, 100), self.page.unwrap_or(1).max(1));
        all.into_iter().skip((page - 1) * size).take(size).collect()
    }
}

/// What everybody may see who sees the repository.
fn hosted(hub: &Hub, headers: &HeaderMap, owner: &str, repo: &str) -> Result<(Hosted, String), Response> {
    let repository = seen(hub, headers, owner, repo)?;
    let state = hub.lock();
    let api = format!("{}/api/v3/repos/{repository}", state.url);
    let hosted = state.hosted(&repository).cloned().ok_or_else(|| refusal(404, "Not Found"))?;
    Ok((hosted, api))
}

/// What only administrators may.
fn administered(hub: &Hub, headers: &HeaderMap, owner: &str, repo: &str) -> Result<Hosted, Response> {
    let repository = admitted(hub, headers, &format!("{owner}/{repo}"))?;
    hub.lock().hosted(&repository).cloned().ok_or_else(|| refusal(404, "Not Found"))
}

async fn describe(Shared(hub): Shared<Hub>, Path((owner, repo)): At, headers: HeaderMap) -> Reply {
    let (hosted, api) = hosted(&hub, &headers, &owner, &repo)?;
    Ok(Json(hosted.described(&api, &owner, &repo)).into_response())
}

async fn branches(
    Shared(hub): Shared<Hub>,
    Path((owner, repo)): At,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Reply {
    let (hosted, _) = hosted(&hub, &headers, &owner, &repo)?;
    let all = hosted.branches.keys().filter_map(|name| hosted.branch(name)).collect();
    Ok(Json(page.of(all)).into_response())
}

async fn branch(
    Shared(hub): Shared<Hub>,
    Path((owner, repo, branch)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Reply {
    let (hosted, _) = hosted(&hub, &headers, &owner, &repo)?;
    let branch = hosted.branch(&branch).ok_or_else(|| refusal(404, "Branch not found"))?;
    Ok(Json(branch).into_response())
}

async fn commit(
    Shared(hub): Shared<Hub>,
    Path((owner, repo, reference)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Reply {
    let (hosted, _) = hosted(&hub, &headers, &owner, &repo)?;
    let unknown = || refusal(422, &format!("No commit found for SHA: {reference}"));
    let sha = hosted.commit(&reference).ok_or_else(unknown)?;
    Ok(Json(json!({ "sha": sha })).into_response())
}

#[derive(Deserialize)]
struct AtReference {
    r#ref: Option<String>,
}

async fn contents(
    Shared(hub): Shared<Hub>,
    Path((owner, repo, path)): Path<(String, String, String)>,
    Query(at): Query<AtReference>,
    headers: HeaderMap,
) -> Reply {
    let (hosted, api) = hosted(&hub, &headers, &owner, &repo)?;
    let contents =
        hosted.contents(&api, &path, at.r#ref.as_deref()).ok_or_else(|| refusal(404, "Not Found"))?;
    Ok(Json(contents).into_response())
}

async fn collaborators(Shared(hub): Shared<Hub>, Path((owner, repo)): At, headers: HeaderMap) -> Reply {
    let hosted = administered(&hub, &headers, &owner, &repo)?;
    let all: Vec<Value> = (0..hosted.writers)
        .map(|number| json!({ "login": format!("writer{number}"), "id": number }))
        .collect();
    Ok(Json(all).into_response())
}

async fn approval(Shared(hub): Shared<Hub>, Path((owner, repo)): At, headers: HeaderMap) -> Reply {
    let hosted = administered(&hub, &headers, &owner, &repo)?;
    Ok(Json(json!({ "approval_policy": hosted.approval })).into_response())
}

async fn forks(Shared(hub): Shared<Hub>, Path((owner, repo)): At, headers: HeaderMap) -> Reply {
    let hosted = administered(&hub, &headers, &owner, &repo)?;
    if !hosted.private {
        return Err(refusal(403, "This setting is only for private repositories"));
    }
    Ok(Json(json!({
        "run_workflows_from_fork_pull_requests": hosted.forks_run,
        "send_write_tokens_to_workflows": false,
        "send_secrets_and_variables": false,
        "require_approval_for_fork_pr_workflows": hosted.forks_need_approval,
    }))
    .into_response())
}

async fn token(Shared(hub): Shared<Hub>, Path((owner, repo)): At, headers: HeaderMap) -> Reply {
    let hosted = administered(&hub, &headers, &owner, &repo)?;
    let setting =
        json!({ "default_workflow_permissions": hosted.token, "can_approve_pull_request_reviews": false });
    Ok(Json(setting).into_response())
}

fn listed(variables: &std::collections::BTreeMap<String, String>, page: &Page) -> Response {
    let time = "2026-01-01T00:00:00Z";
    let all: Vec<Value> = variables
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value, "created_at": time, "updated_at": time }))
        .collect();
    Json(json!({ "total_count": all.len(), "variables": page.of(all) })).into_response()
}

async fn variables(
    Shared(hub): Shared<Hub>,
    Path((owner, repo)): At,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Reply {
    Ok(listed(&administered(&hub, &headers, &owner, &repo)?.variables, &page))
}

async fn organization_variables(
    Shared(hub): Shared<Hub>,
    Path((owner, repo)): At,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Reply {
    Ok(listed(&administered(&hub, &headers, &owner, &repo)?.organization_variables, &page))
}
