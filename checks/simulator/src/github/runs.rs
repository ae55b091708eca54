//! The jobs of a workflow run; here every job is a run of its own, with its number.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, State as Shared},
    http::HeaderMap,
    response::IntoResponse as _,
    routing::get,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    rest::{Reply, admitted, refusal},
    server::Hub,
};

/// What GitHub knows of a job's way.
#[derive(Debug, Clone)]
pub struct Way {
    pub repository: String,
    pub name: String,
    pub labels: Vec<String>,
    pub created: Timestamp,
    /// Which runner took it, and when.
    pub started: Option<(u64, String, Timestamp)>,
    pub ended: Option<(String, Timestamp)>,
}

pub fn routes() -> Router<Hub> {
    Router::new().route("/repos/{owner}/{repo}/actions/runs/{run}/jobs", get(jobs))
}

async fn jobs(
    Shared(hub): Shared<Hub>,
    headers: HeaderMap,
    Path(names): Path<BTreeMap<String, String>>,
) -> Reply {
    let repository = admitted(&hub, &headers, &format!("{}/{}", names["owner"], names["repo"]))?;
    let id: u64 = names["run"].parse().map_err(|_| refusal(404, "Not Found"))?;
    let state = hub.lock();
    let way = state.way(id).filter(|way| way.repository == repository);
    let job = way.map(|way| told(&state.url, id, way)).ok_or_else(|| refusal(404, "Not Found"))?;
    Ok(Json(json!({ "total_count": 1, "jobs": [job] })).into_response())
}

fn told(server: &str, id: u64, way: &Way) -> Value {
    let api = format!("{server}/api/v3/repos/{}/actions", way.repository);
    let (runner, result) = (way.started.as_ref(), way.ended.as_ref());
    let conclusion = result.map(|(result, _)| match result.as_str() {
        "Succeeded" => "success",
        "Canceled" => "cancelled",
        "Skipped" => "skipped",
        _ => "failure",
    });
    json!({
        "id": id,
        "node_id": format!("J{id}"),
        "run_id": id,
        "run_url": format!("{api}/runs/{id}"),
        "run_attempt": 1,
        "head_sha": "0000000000000000000000000000000000000000",
        "workflow_name": "heavy",
        "head_branch": "main",
        "name": way.name,
        "url": format!("{api}/jobs/{id}"),
        "html_url": format!("{server}/{}/actions/runs/{id}/job/{id}", way.repository),
        "status": if result.is_some() { "completed" } else if runner.is_some() { "in_progress" } else { "queued" },
        "conclusion": conclusion,
        "created_at": way.created,
        "started_at": runner.map_or(way.created, |(_, _, at)| *at),
        "completed_at": result.map(|(_, at)| at),
        "check_run_url": format!("{api}/check-runs/{id}"),
        "labels": way.labels,
        "runner_id": runner.map(|(id, _, _)| id),
        "runner_name": runner.map(|(_, name, _)| name),
        "runner_group_id": runner.map(|_| 1),
        "runner_group_name": runner.map(|_| "Default"),
    })
}
