//! Addresses that take one file for a while, and the object store that judges what comes.

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Path, Query, State as Shared},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{post, put},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{Timestamp, ToSpan as _};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Hub, nix, refusal};

/// What an address is good for.
pub struct Signed {
    name: String,
    checksum: String,
    until: Timestamp,
}

/// How long an address is good, in seconds.
const LIFETIME: i64 = 900;

pub fn routes() -> Router<Hub> {
    Router::new().route("/api/cache/upload-url", post(upload_url)).route("/_r2/{*name}", put(take))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    nar_url: String,
    file_hash: String,
}

async fn upload_url(Shared(hub): Shared<Hub>, headers: HeaderMap, Json(wanted): Json<Wanted>) -> Response {
    let mut state = hub.lock();
    if let Err(refused) = state.tenant(&headers) {
        return *refused;
    }
    let Some(digest) = wanted.file_hash.strip_prefix("sha256:").and_then(nix::digest) else {
        return refusal(400, "fileHash is no sha256 in base 32");
    };
    let name = wanted.nar_url.strip_prefix("nar/").unwrap_or_default();
    if !name.starts_with(wanted.file_hash.trim_start_matches("sha256:")) || name.contains(['/', '\\']) {
        return refusal(400, "narUrl is not nar/<filehash>.nar…");
    }
    let signature = state.word("");
    let lapses = state.lapsed > 0;
    state.lapsed = state.lapsed.saturating_sub(1);
    let made = Timestamp::now() - (if lapses { 2 * LIFETIME } else { 0 }).seconds();
    let signed = Signed {
        name: wanted.nar_url.clone(),
        checksum: BASE64_STANDARD.encode(digest),
        until: made + LIFETIME.seconds(),
    };
    state.signed.insert(signature.clone(), signed);
    let date = made.strftime("%Y%m%dT%H%M%SZ");
    let url = format!(
        "{}/_r2/{}?X-Amz-Date={date}&X-Amz-Expires={LIFETIME}&X-Amz-Signature={signature}",
        state.url, wanted.nar_url
    );
    Json(json!({ "url": url })).into_response()
}

#[derive(Deserialize)]
struct Signature {
    #[serde(rename = "X-Amz-Signature")]
    signature: String,
}

async fn take(
    Shared(hub): Shared<Hub>,
    Path(name): Path<String>,
    Query(Signature { signature }): Query<Signature>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let refuse = |status: StatusCode, code: &str| (status, format!("<Error><Code>{code}</Code></Error>"));
    if header("content-length").is_none() {
        return refuse(StatusCode::LENGTH_REQUIRED, "MissingContentLength").into_response();
    }
    let checksum = {
        let state = hub.lock();
        let Some(signed) = state.signed.get(&signature).filter(|signed| signed.name == name) else {
            return refuse(StatusCode::FORBIDDEN, "SignatureDoesNotMatch").into_response();
        };
        if signed.until < Timestamp::now() {
            return refuse(StatusCode::FORBIDDEN, "AccessDenied").into_response();
        }
        signed.checksum.clone()
    };
    if header("x-amz-checksum-sha256") != Some(&checksum) || header("authorization").is_some() {
        return refuse(StatusCode::FORBIDDEN, "SignatureDoesNotMatch").into_response();
    }
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return refuse(StatusCode::BAD_REQUEST, "IncompleteBody").into_response();
    };
    if BASE64_STANDARD.encode(Sha256::digest(&bytes)) != checksum {
        return refuse(StatusCode::BAD_REQUEST, "BadDigest").into_response();
    }
    hub.lock().objects.insert(name, bytes.to_vec());
    StatusCode::OK.into_response()
}
