//! An object store that speaks as S3 does, as Google's and as Azure's, as far as a cache needs it: objects whole or in parts,
//! in one bucket, for whoever shows the key that it knows.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Query, State as Shared},
    http::{HeaderMap, Method, StatusCode, header::ETAG},
    middleware,
    response::{IntoResponse as _, Response},
    routing::any,
};

use crate::{fault::Faults, loopback::Loopback};

/// Who may.
pub const ACCESS_KEY: &str = "AKIDTESTBED";
pub const SECRET_KEY: &str = "testbed-secret-access-key";
pub const ACCOUNT: &str = "testbed";
pub const BUCKET: &str = "builds";
/// Every part but the last has so many bytes at least.
const LEAST: usize = 5 << 20;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    /// Uploads that are under way: their parts by number.
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    /// Everybody may.
    is_open: bool,
    /// Azure's: an object's blocks by their names.
    blocks: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

#[derive(Clone, Default)]
struct Hub(Arc<Mutex<State>>);

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An object store, gone when dropped.
pub struct Server {
    loopback: Loopback,
    pub faults: Faults,
    hub: Hub,
}

impl Server {
    pub fn start() -> anyhow::Result<Self> {
        let faults =
            Faults::new(|status, _| refusal(StatusCode::from_u16(status).unwrap_or_default(), "SlowDown"));
        let hub = Hub::default();
        let (state, around) = (hub.clone(), faults.clone());
        let loopback = Loopback::serve(0, |_| {
            Ok(Router::new()
                .route("/{bucket}/{*key}", any(answer))
                .layer(middleware::from_fn_with_state(around, Faults::around))
                .with_state(state))
        })?;
        Ok(Self { loopback, faults, hub })
    }

    pub fn url(&self) -> &str {
        self.loopback.url()
    }

    /// From now on everybody may: Google's own sign-in is a server elsewhere.
    pub fn open(&self) {
        self.hub.lock().is_open = true;
    }

    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.hub.lock().objects.get(key).cloned()
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        let state = self.hub.lock();
        state.uploads.len() + state.blocks.len()
    }
}

fn refusal(status: StatusCode, code: &str) -> Response {
    (status, format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"))
        .into_response()
}

/// S3 signs with a secret, Azure with a key that both sides have.
fn may(headers: &HeaderMap) -> bool {
    let authorization =
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_signed = headers.contains_key("x-amz-content-sha256")
        && authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/"));
    is_signed
        || headers.contains_key("x-ms-version") && authorization.starts_with(&format!("SharedKey {ACCOUNT}:"))
}

/// Azure's parts: each by its name, until a list says what the object is.
fn block(state: &mut State, key: String, part: &str, id: Option<&String>, bytes: &[u8]) -> Response {
    let blocks = state.blocks.entry(key.clone()).or_default();
    match (part, id) {
        ("block", Some(id)) => {
            blocks.insert(id.clone(), bytes.to_vec());
        }
        ("blocklist", _) => {
            let list = String::from_utf8_lossy(bytes).into_owned();
            let names = list.split("<Uncommitted>").skip(1).filter_map(|rest| rest.split('<').next());
            let Some(parts) = names.map(|name| blocks.remove(name)).collect::<Option<Vec<_>>>() else {
                return refusal(StatusCode::BAD_REQUEST, "InvalidBlockList");
            };
            state.blocks.remove(&key);
            state.objects.insert(key, parts.concat());
        }
        _ => return refusal(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue"),
    }
    (StatusCode::CREATED, [(ETAG, "\"object\"")]).into_response()
}

async fn answer(
    Shared(hub): Shared<Hub>,
    Path((bucket, key)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !hub.lock().is_open && !may(&headers) {
        return refusal(StatusCode::FORBIDDEN, "AccessDenied");
    }
    if bucket != BUCKET {
        return refusal(StatusCode::NOT_FOUND, "NoSuchBucket");
    }
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return refusal(StatusCode::BAD_REQUEST, "IncompleteBody");
    };
    let mut state = hub.lock();
    if let Some(part) = query.get("comp") {
        return block(&mut state, key, part, query.get("blockid"), &bytes);
    }
    match (method, query.get("uploadId")) {
        (Method::GET | Method::HEAD, None) => match state.objects.get(&key) {
            Some(bytes) => {
                let modified = "Thu, 26 Nov 2026 00:00:00 GMT";
                ([(ETAG.as_str(), "\"object\""), ("last-modified", modified)], bytes.clone()).into_response()
            }
            None => refusal(StatusCode::NOT_FOUND, "NoSuchKey"),
        },
        (Method::PUT, None) => {
            state.objects.insert(key, bytes.to_vec());
            [(ETAG, "\"object\"")].into_response()
        }
        (Method::POST, None) if query.contains_key("uploads") => {
            let id = format!("upload-{:016x}", rand::random::<u64>());
            state.uploads.insert(id.clone(), BTreeMap::new());
            format!(
                "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key>\
                 <UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            )
            .into_response()
        }
        (Method::PUT, Some(id)) => {
            let number = query.get("partNumber").and_then(|number| number.parse().ok());
            let (Some(parts), Some(number)) = (state.uploads.get_mut(id), number) else {
                return refusal(StatusCode::NOT_FOUND, "NoSuchUpload");
            };
            parts.insert(number, bytes.to_vec());
            [(ETAG, format!("\"part-{number}\""))].into_response()
        }
        (Method::POST, Some(id)) => {
            let Some(parts) = state.uploads.remove(id) else {
                return refusal(StatusCode::NOT_FOUND, "NoSuchUpload");
            };
            let count = parts.len();
            if parts.values().take(count.saturating_sub(1)).any(|part| part.len() < LEAST) {
                return refusal(StatusCode::BAD_REQUEST, "EntityTooSmall");
            }
            state.objects.insert(key.clone(), parts.into_values().flatten().collect());
            format!(
                "<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key>\
                 <ETag>\"object\"</ETag></CompleteMultipartUploadResult>"
            )
            .into_response()
        }
        (Method::DELETE, Some(id)) => {
            state.uploads.remove(id);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}
