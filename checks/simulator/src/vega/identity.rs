//! Who vouches: GitHub's device flow, the control plane's enrolment, and the identities of jobs.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Query, State as Shared},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Hub, refusal};

/// One person with one code.
#[derive(Default)]
pub struct Device {
    /// Questions until the person has done something.
    pub pending: usize,
    /// What it is: an error of RFC 8628, or nothing for a token.
    pub ends: &'static str,
    code: String,
    token: String,
    /// The request tokens of jobs, and their repositories.
    pub jobs: BTreeMap<String, String>,
}

const CLIENT: &str = "Iv23liYWrhwLxxmY8iK3";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub fn routes() -> Router<Hub> {
    Router::new()
        .route("/login/device/code", post(begin))
        .route("/login/oauth/access_token", post(poll))
        .route("/api/owner/enroll", post(enroll))
        .route("/_identity", get(identity))
}

async fn begin(Shared(hub): Shared<Hub>, Json(body): Json<Value>) -> Response {
    if body["client_id"] != CLIENT {
        return refusal(404, "Not Found");
    }
    let mut state = hub.lock();
    state.device.code = state.word("device-");
    Json(json!({
        "device_code": state.device.code, "user_code": "WDJB-MJHT", "expires_in": 899, "interval": 0,
        "verification_uri": "https://github.com/login/device",
    }))
    .into_response()
}

async fn poll(Shared(hub): Shared<Hub>, Json(body): Json<Value>) -> Response {
    let mut state = hub.lock();
    if body["client_id"] != CLIENT || body["grant_type"] != GRANT {
        return Json(json!({ "error": "unsupported_grant_type" })).into_response();
    }
    if state.device.code.is_empty() || body["device_code"] != state.device.code {
        return Json(json!({ "error": "incorrect_device_code" })).into_response();
    }
    if state.device.pending > 0 {
        state.device.pending -= 1;
        // Once too fast, and then in time.
        let error = if state.device.pending == 0 { "slow_down" } else { "authorization_pending" };
        return Json(json!({ "error": error, "interval": 0 })).into_response();
    }
    if !state.device.ends.is_empty() {
        return Json(json!({ "error": state.device.ends })).into_response();
    }
    state.device.token = state.word("ghu_");
    // A code is good once.
    state.device.code.clear();
    Json(json!({ "access_token": state.device.token, "token_type": "bearer", "scope": "" })).into_response()
}

async fn enroll(Shared(hub): Shared<Hub>, headers: HeaderMap) -> Response {
    let mut state = hub.lock();
    let expected = format!("Bearer {}", state.device.token);
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    if state.device.token.is_empty() || given != Some(&expected) {
        return refusal(401, "GitHub does not know this token");
    }
    let credential = state.word("vega-owner-");
    state.bearers.insert(credential.clone(), "owner:583231".to_owned());
    let expires = jiff::Timestamp::now().as_millisecond() + 90 * 86_400_000;
    Json(json!({ "credential": credential, "login": "octocat", "userId": "583231", "expiresAt": expires }))
        .into_response()
}

/// A token in the form of GitHub's; the control plane knows those that were minted for it.
async fn identity(
    Shared(hub): Shared<Hub>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut state = hub.lock();
    let given = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = given.strip_prefix("Bearer ").unwrap_or_default();
    let Some(repository) = state.device.jobs.get(token).cloned() else {
        return refusal(401, "the request token is not valid");
    };
    let audience = query.get("audience").cloned().unwrap_or_default();
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let expires = jiff::Timestamp::now().as_second() + 300;
    let claims = json!({ "aud": audience, "repository": repository, "exp": expires });
    let value = format!("{}.{}.{}", part(json!({ "alg": "RS256" })), part(claims), state.word("s"));
    // One for somebody else is nobody's here.
    if audience == state.url {
        state.bearers.insert(value.clone(), repository);
    }
    Json(json!({ "value": value })).into_response()
}
