//! A Nix binary cache behind HTTP that takes PUT, and takes it exactly: no narinfo before its NAR and before the narinfos
//! of all that its path refers to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode},
    middleware,
    response::{IntoResponse as _, Response},
    routing::any,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{fault::Faults, loopback::Loopback};

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A cache, gone when dropped.
pub struct Server {
    loopback: Loopback,
    pub faults: Faults,
    files: Files,
    upstream: Arc<Mutex<BTreeSet<String>>>,
    login: Arc<Mutex<Option<String>>>,
}

#[derive(Clone)]
struct Shared {
    files: Files,
    /// Hashes of paths that need not be here.
    upstream: Arc<Mutex<BTreeSet<String>>>,
    /// The one header that opens it, where it is closed.
    login: Arc<Mutex<Option<String>>>,
}

impl Server {
    pub fn start() -> anyhow::Result<Self> {
        let faults = Faults::new(|status, message| {
            (StatusCode::from_u16(status).unwrap_or_default(), message.to_owned()).into_response()
        });
        let shared = Shared { files: Files::default(), upstream: Arc::default(), login: Arc::default() };
        let login = shared.login.clone();
        let (files, upstream, around) = (shared.files.clone(), shared.upstream.clone(), faults.clone());
        let loopback = Loopback::serve(0, |_| {
            Ok(Router::new()
                .route("/{*name}", any(answer))
                .with_state(shared)
                .layer(middleware::from_fn_with_state(around, Faults::around)))
        })?;
        Ok(Self { loopback, faults, files, upstream, login })
    }

    /// End, with every connection cut, and be back after a while with all that it had.
    pub fn restart(&mut self, away: Duration) -> anyhow::Result<()> {
        self.loopback.restart(away)
    }

    pub fn url(&self) -> &str {
        self.loopback.url()
    }

    /// A file that was put here.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        lock(&self.files).get(name).cloned()
    }

    /// Have a file without a question.
    pub fn hold(&self, name: &str, bytes: Vec<u8>) {
        lock(&self.files).insert(name.to_owned(), bytes);
    }

    /// Names of all files.
    pub fn names(&self) -> Vec<String> {
        lock(&self.files).keys().cloned().collect()
    }

    /// From now on only who shows this login may do anything.
    pub fn wants_login(&self, user: &str, password: &str) {
        let login = BASE64_STANDARD.encode(format!("{user}:{password}"));
        *lock(&self.login) = Some(format!("Basic {login}"));
    }

    /// A path of this hash may be referred to without being here.
    pub fn is_upstream(&self, hash: &str) {
        lock(&self.upstream).insert(hash.to_owned());
    }
}

async fn answer(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let shown = headers.get("authorization").and_then(|value| value.to_str().ok());
    if lock(&shared.login).as_deref().is_some_and(|login| shown != Some(login)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match method {
        Method::GET | Method::HEAD => match lock(&shared.files).get(&name) {
            Some(bytes) => bytes.clone().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Method::PUT => {
            let Ok(bytes) = to_bytes(body, usize::MAX).await else {
                return (StatusCode::BAD_REQUEST, "the body breaks off").into_response();
            };
            if name.ends_with(".narinfo")
                && let Err(why) = complete(&shared, &String::from_utf8_lossy(&bytes))
            {
                return (StatusCode::UNPROCESSABLE_ENTITY, why).into_response();
            }
            lock(&shared.files).insert(name, bytes.to_vec());
            StatusCode::CREATED.into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

/// Whether all that a narinfo speaks of is here.
fn complete(shared: &Shared, text: &str) -> Result<(), String> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.map(str::trim).ok_or_else(|| format!("it has no {name}"))
    };
    let (own, url, size) = (field("StorePath")?, field("URL")?, field("FileSize")?);
    let files = lock(&shared.files);
    let nar = files.get(url).ok_or_else(|| format!("{url} is not here"))?;
    if nar.len().to_string() != size {
        return Err(format!("{url} has {} bytes, and not {size}", nar.len()));
    }
    for reference in field("References").unwrap_or_default().split_whitespace() {
        let hash = &reference[..reference.len().min(32)];
        let is_here = files.contains_key(&format!("{hash}.narinfo")) || lock(&shared.upstream).contains(hash);
        if !own.ends_with(reference) && !is_here {
            return Err(format!("{reference} is not here"));
        }
    }
    Ok(())
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
