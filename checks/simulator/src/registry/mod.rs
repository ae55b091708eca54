//! A registry that misbehaves on demand: it stands before a real one and passes everything on, but for the
//! faults that it is told. Where the real one has no referrers API (OCI distribution specification 1.1,
//! "Listing Referrers"), it can play one, from what the real one holds.

mod gate;

pub use gate::Demand;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::Context as _;
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use gate::Gate;

use crate::{
    fault::{Fault, Faults, Recorded},
    loopback::Loopback,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The registry before the real one; it ends when dropped.
pub struct Front {
    loopback: Loopback,
    faults: Faults,
    behind: Behind,
    gate: Gate,
}

#[derive(Clone)]
struct Behind {
    client: reqwest::Client,
    /// `http://127.0.0.1:PORT` of the real registry.
    url: String,
    has_referrers_api: Arc<AtomicBool>,
    /// How many referrers a page of the API lists; 0: all of them.
    page: Arc<AtomicUsize>,
}

/// The specification's form of a refusal.
fn refusal(status: u16, message: &str) -> Response {
    let code = match status {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        404 => "MANIFEST_UNKNOWN",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "errors": [{ "code": code, "message": message }] }))).into_response()
}

impl Front {
    /// Stand before the registry at `address`.
    pub fn of(address: &str) -> anyhow::Result<Self> {
        let behind = Behind {
            client: reqwest::Client::builder().no_proxy().build()?,
            url: format!("http://{address}"),
            has_referrers_api: Arc::default(),
            page: Arc::default(),
        };
        let gate = Gate::default();
        let faults = Faults::new(refusal);
        let loopback = Loopback::serve(0, |url| {
            Ok(Router::new()
                .fallback(pass_on)
                .layer(from_fn_with_state((gate.clone(), format!("{url}/token")), Gate::around))
                .layer(from_fn_with_state(faults.clone(), Faults::around))
                .with_state(behind.clone()))
        })?;
        Ok(Self { loopback, faults, behind, gate })
    }

    /// `127.0.0.1:PORT`, the first part of its images' names.
    pub fn address(&self) -> &str {
        self.loopback.url().trim_start_matches("http://")
    }

    pub fn fault(&self, fault: Fault) {
        self.faults.add(fault);
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.faults.requests()
    }

    /// From now on show nothing without this.
    pub fn demand(&self, demand: Demand) {
        self.gate.demand(demand);
    }

    /// Answer the referrers API in pages of so many.
    pub fn page_by(&self, entries: usize) {
        self.behind.page.store(entries, Ordering::Relaxed);
    }

    /// From now on answer the referrers API, and know nothing of the fallback tags.
    pub fn play_referrers_api(&self) {
        self.behind.has_referrers_api.store(true, Ordering::Relaxed);
    }
}

async fn pass_on(State(behind): State<Behind>, request: Request) -> Response {
    let answer = if behind.has_referrers_api.load(Ordering::Relaxed) {
        behind.with_referrers_api(request).await
    } else {
        behind.ask(request).await
    };
    answer.unwrap_or_else(|error| refusal(502, &format!("{error:#}")))
}

impl Behind {
    async fn ask(&self, request: Request) -> anyhow::Result<Response> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().context("no path")?;
        let mut headers = parts.headers;
        // The real one's address and the body's length are the client's to say.
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        let asked = self.client.request(parts.method, format!("{}{path}", self.url)).headers(headers);
        let reply = asked.body(to_bytes(body, usize::MAX).await?).send().await?;
        let mut response = Response::builder().status(reply.status());
        for (name, value) in reply.headers() {
            // The body comes whole, so its length is our own.
            if *name != header::TRANSFER_ENCODING && *name != header::CONNECTION {
                response = response.header(name, value);
            }
        }
        Ok(response.body(Body::from(reply.bytes().await?))?)
    }

    async fn with_referrers_api(&self, mut request: Request) -> anyhow::Result<Response> {
        let path = request.uri().path().to_owned();
        if path.contains("/manifests/sha256-") {
            return Ok(refusal(404, "manifest unknown"));
        }
        let Some((name, subject)) = path.split_once("/referrers/") else { return self.ask(request).await };
        let (page, from) = (self.page.load(Ordering::Relaxed), page_of(request.uri().query()));
        *request.uri_mut() = format!("{name}/manifests/{}", subject.replace(':', "-")).parse()?;
        request.headers_mut().insert(header::ACCEPT, INDEX.parse()?);
        let response = self.ask(request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            let none = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
            return Ok(([(header::CONTENT_TYPE, INDEX)], none.to_string()).into_response());
        }
        if page == 0 {
            return Ok(response);
        }
        let mut index: Value = serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await?)?;
        let all = index["manifests"].as_array().cloned().unwrap_or_default();
        index["manifests"] = all.iter().skip(from).take(page).cloned().collect();
        let mut response = ([(header::CONTENT_TYPE, INDEX)], index.to_string()).into_response();
        if from + page < all.len() {
            let next = format!("<{path}?from={}>; rel=\"next\"", from + page);
            response.headers_mut().insert(header::LINK, next.parse()?);
        }
        Ok(response)
    }
}

fn page_of(query: Option<&str>) -> usize {
    query.and_then(|query| query.strip_prefix("from=")?.parse().ok()).unwrap_or(0)
}
