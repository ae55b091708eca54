//! Between GitHub and its runner. The exchange of the registration token is the real one's; the rest is as
//! small as the stand-in needs: a session, one poll for jobs, lines of a log, a result.

use std::time::{Duration, Instant};

use axum::{
    Json, Router,
    extract::{Path, State as Shared},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{delete, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Job, rest::refusal, server::Hub, state::RunnerInfo};

/// How long a poll waits for a job.
const POLL: Duration = Duration::from_secs(1);

pub fn routes() -> Router<Hub> {
    Router::new()
        .route("/actions/runner-registration", post(registration))
        .route("/_runner/agents", post(add))
        .route("/_runner/sessions", post(open))
        .route("/_runner/sessions/{id}", delete(close))
        .route("/_runner/sessions/{id}/poll", post(poll))
        .route("/_runner/sessions/{id}/alive", post(alive))
        .route("/_runner/jobs/{id}/log", post(log))
        .route("/_runner/jobs/{id}/result", post(result))
}

fn remote_auth(headers: &HeaderMap) -> &str {
    let value = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.strip_prefix("RemoteAuth ").unwrap_or_default()
}

#[derive(Serialize, Deserialize)]
pub struct RegistrationRequest {
    pub url: String,
    pub runner_event: String,
}

async fn registration(
    Shared(hub): Shared<Hub>,
    headers: HeaderMap,
    Json(asked): Json<RegistrationRequest>,
) -> Result<Response, Response> {
    let unknown = || refusal(404, "Not Found");
    let repository = hub.lock().redeem(remote_auth(&headers)).ok_or_else(unknown)?;
    if !asked.url.to_lowercase().ends_with(&format!("/{}", repository.to_lowercase())) {
        return Err(unknown());
    }
    Ok(Json(
        json!({ "url": hub.lock().url, "token": remote_auth(&headers), "token_schema": "OAuthAccessToken" }),
    )
    .into_response())
}

#[derive(Serialize, Deserialize)]
pub struct AddRequest {
    pub name: String,
    pub labels: Vec<String>,
    pub ephemeral: bool,
    pub replace: bool,
    pub work: String,
    #[serde(default)]
    pub group: Option<String>,
}

async fn add(
    Shared(hub): Shared<Hub>,
    headers: HeaderMap,
    Json(asked): Json<AddRequest>,
) -> Result<Response, Response> {
    let mut state = hub.lock();
    let repository = state.redeem(remote_auth(&headers)).ok_or_else(|| refusal(401, "Bad credentials"))?;
    if let Some(present) = state.named(&repository, &asked.name).map(|runner| runner.id) {
        if !asked.replace {
            return Err(refusal(409, "A runner exists with the same name"));
        }
        state.remove(present);
    }
    if let Some(group) = &asked.group
        && !state.groups(&repository).iter().any(|known| known.name.eq_ignore_ascii_case(group))
    {
        return Err(refusal(404, &format!("Could not find any self-hosted runner group named \"{group}\".")));
    }
    let group = asked.group.as_deref();
    let runner = state.add(&repository, &asked.name, &asked.labels, asked.ephemeral, group);
    Ok(Json(files(&state.url, &runner, &asked.work)).into_response())
}

/// The runner's three files, as it saves them: name and content.
pub fn files(server: &str, runner: &RunnerInfo, work: &str) -> Vec<(String, String)> {
    let settings = json!({
        "agentId": runner.id, "agentName": runner.name, "poolId": 1, "poolName": "Default",
        "serverUrl": server, "gitHubUrl": format!("{server}/{}", runner.repository),
        "workFolder": work, "ephemeral": runner.ephemeral, "useV2Flow": true,
    });
    let credentials =
        json!({ "scheme": "OAuth", "data": { "clientId": runner.id, "authorizationUrl": server } });
    let parameters = json!({ "d": runner.credential });
    [(".runner", settings), (".credentials", credentials), (".credentials_rsaparams", parameters)]
        .map(|(name, value)| (name.to_owned(), value.to_string()))
        .to_vec()
}

#[derive(Serialize, Deserialize)]
pub struct SessionRequest {
    pub runner: u64,
    pub credential: String,
    pub version: String,
}

async fn open(Shared(hub): Shared<Hub>, Json(asked): Json<SessionRequest>) -> Result<Response, Response> {
    let mut state = hub.lock();
    if state.refuses_version {
        return Err(refusal(400, "Runner version is deprecated"));
    }
    let known = state
        .kept
        .runners
        .iter_mut()
        .find(|runner| runner.id == asked.runner && runner.credential == asked.credential);
    let known = known.ok_or_else(|| refusal(404, "The runner registration has been deleted"))?;
    known.version = Some(asked.version);
    let session = state.open_session(asked.runner).ok_or_else(|| refusal(409, "A session exists"))?;
    Ok(Json(json!({ "session": session })).into_response())
}

async fn close(Shared(hub): Shared<Hub>, Path(id): Path<String>) -> StatusCode {
    hub.lock().close_session(&id);
    StatusCode::NO_CONTENT
}

/// A job for a runner.
#[derive(Serialize, Deserialize)]
pub struct Assigned {
    pub id: u64,
    pub job: Job,
}

async fn poll(Shared(hub): Shared<Hub>, Path(session): Path<String>) -> Result<Response, Response> {
    let deadline = Instant::now() + POLL;
    loop {
        {
            let mut state = hub.lock();
            let runner = state.seen(&session).ok_or_else(|| refusal(404, "There is no such session"))?;
            if let Some((id, job)) = state.claim(&session, runner) {
                return Ok(Json(Assigned { id, job }).into_response());
            }
        }
        if Instant::now() >= deadline {
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn alive(Shared(hub): Shared<Hub>, Path(session): Path<String>) -> StatusCode {
    if hub.lock().seen(&session).is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

async fn log(Shared(hub): Shared<Hub>, Path(job): Path<u64>, text: String) -> StatusCode {
    hub.lock().log(job, &text);
    StatusCode::OK
}

async fn result(Shared(hub): Shared<Hub>, Path(job): Path<u64>, Json(result): Json<Value>) -> StatusCode {
    hub.lock().finish(job, result["result"].as_str().unwrap_or("Failed"));
    StatusCode::OK
}
