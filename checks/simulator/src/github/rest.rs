//! The published REST calls, as `https://HOST/api/v3` and `https://api.github.com` answer them.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State as Shared},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{server::Hub, state::State};

pub type Reply = Result<Response, Response>;

pub fn routes() -> Router<Hub> {
    Router::new()
        .route("/repos/{owner}/{repo}/actions/runners/registration-token", post(registration_token))
        .route("/repos/{owner}/{repo}/actions/runners/remove-token", post(registration_token))
        .route("/repos/{owner}/{repo}/actions/runners/generate-jitconfig", post(jit_config))
        .route("/repos/{owner}/{repo}/actions/runners", get(list))
        .route("/repos/{owner}/{repo}/actions/runners/{id}", get(one).delete(remove))
}

/// GitHub's form of a refusal.
pub fn refusal(status: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let documentation = "https://docs.github.com/rest";
    let body = json!({ "message": message, "documentation_url": documentation, "status": status.as_str() });
    (status, Json(body)).into_response()
}

/// Whether the caller administers, when GitHub knows them at all.
fn administers(hub: &Hub, headers: &HeaderMap) -> Result<bool, Response> {
    let authorization =
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = authorization.strip_prefix("Bearer ").or_else(|| authorization.strip_prefix("token "));
    token.and_then(|token| hub.credential(token)).ok_or_else(|| refusal(401, "Bad credentials"))
}

/// The repository, spelled as it was made, when the caller may see it.
pub fn seen(hub: &Hub, headers: &HeaderMap, owner: &str, repo: &str) -> Result<String, Response> {
    let administers = administers(hub, headers)?;
    let state = hub.lock();
    let repository = format!("{owner}/{repo}");
    let known = state.repositories.iter().find(|(known, _)| known.eq_ignore_ascii_case(&repository));
    match known {
        Some((known, hosted)) if administers || !hosted.private => Ok(known.clone()),
        _ => Err(refusal(404, "Not Found")),
    }
}

/// The repository, when the caller may administer it.
pub fn admitted(hub: &Hub, headers: &HeaderMap, owner: &str, repo: &str) -> Result<String, Response> {
    let administers = administers(hub, headers)?;
    let repository = format!("{owner}/{repo}");
    if !hub.lock().repositories.keys().any(|known| known.eq_ignore_ascii_case(&repository)) {
        return Err(refusal(404, "Not Found"));
    }
    if !administers {
        let mut response = refusal(403, "Resource not accessible by personal access token");
        if let Ok(needed) = "administration=write".parse() {
            response.headers_mut().insert("x-accepted-github-permissions", needed);
        }
        return Err(response);
    }
    Ok(repository)
}

async fn registration_token(
    Shared(hub): Shared<Hub>,
    Path((owner, repo)): Path<(String, String)>,
    headers: HeaderMap,
) -> Reply {
    let repository = admitted(&hub, &headers, &owner, &repo)?;
    let minted = hub.lock().mint(&repository);
    Ok((StatusCode::CREATED, Json(minted)).into_response())
}

#[derive(Deserialize)]
struct ListQuery {
    name: Option<String>,
    per_page: Option<usize>,
    page: Option<usize>,
}

async fn list(
    Shared(hub): Shared<Hub>,
    Path((owner, repo)): Path<(String, String)>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Reply {
    let repository = admitted(&hub, &headers, &owner, &repo)?;
    let state = hub.lock();
    let all: Vec<Value> = state
        .kept
        .runners
        .iter()
        .filter(|runner| runner.repository == repository)
        .filter(|runner| query.name.as_ref().is_none_or(|name| *name == runner.name))
        .map(|runner| state.listed(runner))
        .collect();
    let (size, page) = (query.per_page.unwrap_or(30).clamp(1, 100), query.page.unwrap_or(1).max(1));
    let total = all.len();
    let page: Vec<Value> = all.into_iter().skip((page - 1) * size).take(size).collect();
    Ok(Json(json!({ "total_count": total, "runners": page })).into_response())
}

async fn one(
    Shared(hub): Shared<Hub>,
    Path((owner, repo, id)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Reply {
    let repository = admitted(&hub, &headers, &owner, &repo)?;
    let state = hub.lock();
    let runner = state.runner(&repository, id).ok_or_else(|| refusal(404, "Not Found"))?;
    Ok(Json(state.listed(runner)).into_response())
}

async fn remove(
    Shared(hub): Shared<Hub>,
    Path((owner, repo, id)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Reply {
    let repository = admitted(&hub, &headers, &owner, &repo)?;
    let mut state = hub.lock();
    if state.runner(&repository, id).is_none() {
        return Err(refusal(404, "Not Found"));
    }
    if state.listed(state.runner(&repository, id).ok_or_else(|| refusal(404, "Not Found"))?)["busy"] == true {
        return Err(refusal(422, "Bad request - Runner is still running a job"));
    }
    state.remove(id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct JitRequest {
    name: String,
    runner_group_id: u64,
    labels: Vec<String>,
    #[serde(default)]
    work_folder: Option<String>,
}

async fn jit_config(
    Shared(hub): Shared<Hub>,
    Path((owner, repo)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let repository = admitted(&hub, &headers, &owner, &repo)?;
    let asked: JitRequest =
        serde_json::from_slice(&body).map_err(|why| refusal(422, &format!("Invalid request. {why}")))?;
    if asked.labels.is_empty() || asked.labels.len() > 100 || asked.runner_group_id == 0 {
        return Err(refusal(422, "Invalid request. \"labels\" wants 1 to 100 items"));
    }
    let mut state = hub.lock();
    if state.named(&repository, &asked.name).is_some() {
        return Err(refusal(409, "Already exists - A runner with the name already exists."));
    }
    let runner = state.add(&repository, &asked.name, &asked.labels, true);
    let work = asked.work_folder.unwrap_or_else(|| "_work".to_owned());
    let files = super::protocol::files(&state.url, &runner, &work);
    let encoded: serde_json::Map<String, Value> =
        files.into_iter().map(|(name, text)| (name, Value::String(STANDARD.encode(text)))).collect();
    let config = STANDARD.encode(Value::Object(encoded).to_string());
    let listed = State::listed(&state, &runner);
    let reply = json!({ "runner": listed, "encoded_jit_config": config });
    Ok((StatusCode::CREATED, Json(reply)).into_response())
}
