//! The private Sigstore as services on the loopback: what the real cosign signs with.

use std::sync::Arc;

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{Authority, fulcio, rekor};
use crate::loopback::Loopback;

/// Fulcio and Rekor at one address; they end when dropped.
pub struct Service(Loopback);

pub fn refusal(status: u16, message: &str) -> Response {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, Json(json!({ "code": status, "message": message }))).into_response()
}

impl Service {
    pub fn of(authority: &Arc<Authority>) -> anyhow::Result<Self> {
        let loopback = Loopback::serve(0, |_| {
            Ok(Router::new()
                .merge(fulcio::routes())
                .merge(rekor::routes())
                .fallback(|| async { refusal(404, "no such endpoint") })
                .with_state(Arc::clone(authority)))
        })?;
        Ok(Self(loopback))
    }

    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// Where cosign 3 finds both, as its `signing_config.json`.
    pub fn signing_config(&self) -> String {
        let service = json!({
            "url": self.url(), "majorApiVersion": 1, "operator": "vega-builder checks",
            "validFor": { "start": "2020-01-01T00:00:00Z" },
        });
        json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service], "oidcUrls": [service], "rekorTlogUrls": [service],
            "rekorTlogConfig": { "selector": "ANY" },
        })
        .to_string()
    }
}
