//! The published REST calls, as `https://HOST/api/v3` and `https://api.github.com` answer them.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{FromRequestParts, Path, Query, State as Shared},
    http::{HeaderMap, StatusCode, request::Parts},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{hosted::Hosted, server::Hub, state::State};

pub type Reply = Result<Response, Response>;

/// The same for a repository's runners and for an organisation's.
pub fn routes() -> Router<Hub> {
    ["/repos/{owner}/{repo}", "/orgs/{owner}"].into_iter().fold(Router::new(), |router, at| {
        let runners = format!("{at}/actions/runners");
        router
            .route(&format!("{runners}/registration-token"), post(registration_token))
            .route(&format!("{runners}/remove-token"), post(registration_token))
            .route(&format!("{runners}/generate-jitconfig"), post(jit_config))
            .route(&runners, get(list))
            .route(&format!("{runners}/{{id}}"), get(one).delete(remove))
            .route(&format!("{runners}/deprecations/{{version}}"), get(end_of_life))
    })
}

/// Of whose runners a request speaks, when the caller may administer them: `owner/name`, or an organisation's name.
struct Of {
    scope: String,
    id: Option<u64>,
}

impl FromRequestParts<Hub> for Of {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, Response> {
        let Path(names) = Path::<BTreeMap<String, String>>::from_request_parts(parts, hub)
            .await
            .map_err(|why| refusal(404, &why.to_string()))?;
        let owner = names.get("owner").map(String::as_str).unwrap_or_default();
        let scope = names.get("repo").map_or_else(|| owner.to_owned(), |repo| format!("{owner}/{repo}"));
        Ok(Self {
            scope: admitted(hub, &parts.headers, &scope)?,
            id: names.get("id").and_then(|id| id.parse().ok()),
        })
    }
}

impl Of {
    fn id(&self) -> Result<u64, Response> {
        self.id.ok_or_else(|| refusal(404, "Not Found"))
    }
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

/// A repository (`owner/name`) or an organisation, when the caller may administer it.
pub fn admitted(hub: &Hub, headers: &HeaderMap, scope: &str) -> Result<String, Response> {
    let administers = administers(hub, headers)?;
    let is_it = |(known, hosted): (&String, &Hosted)| {
        let owner = known.split_once('/').map_or("", |(owner, _)| owner);
        known.eq_ignore_ascii_case(scope) || hosted.of_organization && owner.eq_ignore_ascii_case(scope)
    };
    if !hub.lock().repositories.iter().any(is_it) {
        return Err(refusal(404, "Not Found"));
    }
    if !administers {
        let mut response = refusal(403, "Resource not accessible by personal access token");
        let needed = if scope.contains('/') {
            "administration=write"
        } else {
            "organization_self_hosted_runners=write"
        };
        if let Ok(needed) = needed.parse() {
            response.headers_mut().insert("x-accepted-github-permissions", needed);
        }
        return Err(response);
    }
    Ok(scope.to_owned())
}

async fn registration_token(Shared(hub): Shared<Hub>, of: Of) -> Reply {
    let repository = of.scope;
    let minted = hub.lock().mint(&repository);
    Ok((StatusCode::CREATED, Json(minted)).into_response())
}

#[derive(Deserialize)]
struct ListQuery {
    name: Option<String>,
    per_page: Option<usize>,
    page: Option<usize>,
}

async fn list(Shared(hub): Shared<Hub>, of: Of, Query(query): Query<ListQuery>) -> Reply {
    let repository = of.scope;
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

async fn one(Shared(hub): Shared<Hub>, of: Of) -> Reply {
    let (repository, id) = (&of.scope, of.id()?);
    let state = hub.lock();
    let runner = state.runner(repository, id).ok_or_else(|| refusal(404, "Not Found"))?;
    Ok(Json(state.listed(runner)).into_response())
}

/// The schedule of a version, which the published description does not have yet.
///
/// Source: <https://docs.github.com/rest/actions/self-hosted-runners>, "Get runner version end-of-life schedule".
async fn end_of_life(Shared(hub): Shared<Hub>, _: Of, Path(names): Path<BTreeMap<String, String>>) -> Reply {
    let version = names.get("version").map(String::as_str).unwrap_or_default();
    if version.split('.').filter(|part| part.parse::<u32>().is_ok()).count() != 3 {
        return Err(refusal(404, "Not Found"));
    }
    let ends = hub.lock().version_ends;
    let reply = json!({
        "runner_version": version,
        "runtime_deprecates_at": ends,
        "registration_deprecates_at": ends,
    });
    Ok(Json(reply).into_response())
}

async fn remove(Shared(hub): Shared<Hub>, of: Of) -> Reply {
    let (repository, id) = (&of.scope, of.id()?);
    let mut state = hub.lock();
    if state.runner(repository, id).is_none() {
        return Err(refusal(404, "Not Found"));
    }
    if state.listed(state.runner(repository, id).ok_or_else(|| refusal(404, "Not Found"))?)["busy"] == true {
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

async fn jit_config(Shared(hub): Shared<Hub>, of: Of, body: Bytes) -> Reply {
    let repository = of.scope;
    let asked: JitRequest =
        serde_json::from_slice(&body).map_err(|why| refusal(422, &format!("Invalid request. {why}")))?;
    if asked.labels.is_empty() || asked.labels.len() > 100 || asked.runner_group_id == 0 {
        return Err(refusal(422, "Invalid request. \"labels\" wants 1 to 100 items"));
    }
    let mut state = hub.lock();
    if state.named(&repository, &asked.name).is_some() {
        return Err(refusal(409, "Already exists - A runner with the name already exists."));
    }
    let runner = state.add(&repository, &asked.name, &asked.labels, true, None);
    let work = asked.work_folder.unwrap_or_else(|| "_work".to_owned());
    let files = super::protocol::files(&state.url, &runner, &work);
    let encoded: serde_json::Map<String, Value> =
        files.into_iter().map(|(name, text)| (name, Value::String(STANDARD.encode(text)))).collect();
    let config = STANDARD.encode(Value::Object(encoded).to_string());
    let listed = State::listed(&state, &runner);
    let reply = json!({ "runner": listed, "encoded_jit_config": config });
    Ok((StatusCode::CREATED, Json(reply)).into_response())
}
