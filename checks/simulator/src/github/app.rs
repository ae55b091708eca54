//! GitHub Apps: who signs for one gets a token of an hour for the repositories that it is installed in.

use axum::{
    Json, Router,
    extract::{Path, State as Shared},
    http::{HeaderMap, StatusCode},
    response::IntoResponse as _,
    routing::{get, post},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::json;

use super::{
    rest::{Reply, refusal},
    server::Hub,
};

/// An App as GitHub knows it.
#[derive(Clone)]
pub struct App {
    pub id: String,
    /// PEM.
    pub public_key: String,
    /// The repositories, `owner/name`, that its installation may see.
    pub repositories: Vec<String>,
}

pub fn routes() -> Router<Hub> {
    Router::new()
        .route("/repos/{owner}/{repo}/installation", get(installation))
        .route("/orgs/{org}/installation", get(installation_of_organization))
        .route("/app/installations/{id}/access_tokens", post(access_token))
}

/// There is one installation.
const INSTALLATION: u64 = 4711;
/// GitHub's own bound of an assertion's life.
const LONGEST: i64 = 600;

#[derive(Deserialize)]
struct Claims {
    iat: i64,
    exp: i64,
}

/// The App whose key signed the request.
fn app(hub: &Hub, headers: &HeaderMap) -> Result<App, axum::response::Response> {
    let refuse = |why: &str| refusal(401, why);
    let app = hub.lock().app.clone().ok_or_else(|| refuse("Integration not found"))?;
    let authorization =
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = authorization.strip_prefix("Bearer ").ok_or_else(|| refuse("A JSON web token is needed"))?;
    let key = DecodingKey::from_rsa_pem(app.public_key.as_bytes()).map_err(|why| refuse(&why.to_string()))?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[&app.id]);
    validation.set_required_spec_claims(&["exp", "iss"]);
    let claims = decode::<Claims>(token, &key, &validation)
        .map_err(|why| refuse(&format!("A JSON web token could not be decoded: {why}")))?
        .claims;
    let now = jiff::Timestamp::now().as_second();
    if claims.exp - now > LONGEST || claims.iat > now {
        return Err(refuse("'Expiration time' claim ('exp') is too far in the future"));
    }
    Ok(app)
}

async fn installation(
    Shared(hub): Shared<Hub>,
    Path((owner, repo)): Path<(String, String)>,
    headers: HeaderMap,
) -> Reply {
    let app = app(&hub, &headers)?;
    let repository = format!("{owner}/{repo}");
    if !app.repositories.iter().any(|known| known.eq_ignore_ascii_case(&repository)) {
        return Err(refusal(404, "Not Found"));
    }
    Ok(Json(json!({ "id": INSTALLATION, "app_id": 1, "repository_selection": "selected" })).into_response())
}

async fn installation_of_organization(
    Shared(hub): Shared<Hub>,
    Path(organization): Path<String>,
    headers: HeaderMap,
) -> Reply {
    let app = app(&hub, &headers)?;
    let of_it = |known: &String| known.split_once('/').is_some_and(|(owner, _)| owner == organization);
    if !app.repositories.iter().any(of_it) {
        return Err(refusal(404, "Not Found"));
    }
    Ok(Json(json!({ "id": INSTALLATION, "app_id": 1, "repository_selection": "all" })).into_response())
}

#[derive(Deserialize)]
struct Asked {
    /// All of them, when none is named.
    #[serde(default)]
    repositories: Vec<String>,
    permissions: std::collections::BTreeMap<String, String>,
}

async fn access_token(
    Shared(hub): Shared<Hub>,
    Path(id): Path<u64>,
    headers: HeaderMap,
    Json(asked): Json<Asked>,
) -> Reply {
    let app = app(&hub, &headers)?;
    if id != INSTALLATION {
        return Err(refusal(404, "Not Found"));
    }
    let has = |name: &String| app.repositories.iter().any(|known| known.ends_with(&format!("/{name}")));
    if !asked.repositories.iter().all(has) {
        return Err(refusal(
            422,
            "There is at least one repository that does not exist or is not accessible",
        ));
    }
    let writes = |what: &str| asked.permissions.get(what).is_some_and(|right| right == "write");
    let administers = writes("administration") || writes("organization_self_hosted_runners");
    let token = hub.access_token(administers);
    let expires_at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let reply = json!({ "token": token, "expires_at": expires_at, "permissions": asked.permissions });
    Ok((StatusCode::CREATED, Json(reply)).into_response())
}
