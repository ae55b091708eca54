//! A registry that wants to know who asks: by name and password, or by a token of its own token service (the Docker
//! token specification).

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Json,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::refusal;

const TOKEN: &str = "a-token-of-the-token-service";

/// What it wants to see.
#[derive(Debug, Clone)]
pub enum Demand {
    Basic {
        login: String,
    },
    /// A token, which the token service gives to everybody, or for `NAME:PASSWORD`, or for a refresh token.
    Bearer {
        login: Option<String>,
        refresh: Option<String>,
        /// Where the service is said to be; its own place unless given.
        realm: Option<String>,
    },
}

#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<Option<Demand>>>);

impl Gate {
    pub fn demand(&self, demand: Demand) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(demand);
    }

    pub async fn around(
        State((gate, service)): State<(Self, String)>,
        request: Request,
        next: Next,
    ) -> Response {
        let demand = gate.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shown = authorization(request.headers());
        match demand {
            None => next.run(request).await,
            Some(Demand::Basic { login }) => {
                if shown == format!("Basic {}", STANDARD.encode(&login)) {
                    return next.run(request).await;
                }
                challenge("Basic realm=\"front\"")
            }
            Some(Demand::Bearer { .. }) if shown == format!("Bearer {TOKEN}") => next.run(request).await,
            Some(Demand::Bearer { login, refresh, .. }) if request.uri().path() == "/token" => {
                token(request, &shown, login.as_deref(), refresh.as_deref()).await
            }
            Some(Demand::Bearer { realm, .. }) => {
                let realm = realm.unwrap_or(service);
                challenge(&format!("Bearer realm=\"{realm}\",service=\"front\",scope=\"ignored\""))
            }
        }
    }
}

fn authorization(headers: &HeaderMap) -> String {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn challenge(text: &str) -> Response {
    let mut response = refusal(401, "authentication required");
    if let Ok(value) = text.parse() {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

async fn token(request: Request, shown: &str, login: Option<&str>, refresh: Option<&str>) -> Response {
    let is_post = request.method() == Method::POST;
    let asked = request.uri().query().unwrap_or_default().to_owned();
    let body = to_bytes(request.into_body(), 1 << 16).await.unwrap_or_default();
    let form = String::from_utf8_lossy(&body).into_owned();
    let good = match (login, refresh) {
        (_, Some(refresh)) => is_post && form.contains(&format!("refresh_token={refresh}")),
        (Some(login), None) => shown == format!("Basic {}", STANDARD.encode(login)),
        (None, None) => true,
    };
    let scoped = [asked, form]
        .iter()
        .any(|text| text.contains("scope=repository%3A") && text.contains("service=front"));
    if good && scoped {
        return Json(json!({ "token": TOKEN, "expires_in": 300 })).into_response();
    }
    (StatusCode::UNAUTHORIZED, Json(json!({ "details": "incorrect username or password" }))).into_response()
}
