//! Vega's control plane, the object store behind it, and the two that vouch for whoever pushes: GitHub's device flow
//! and the identity service of its jobs. As strict as the real one: nothing is published whose NAR it has not seen and
//! whose references it cannot serve.

mod identity;
mod nix;
mod publish;
mod upload;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode},
    middleware,
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use self::{identity::Device, publish::Published, upload::Signed};
use crate::{fault::Faults, loopback::Loopback};

/// What the control plane knows.
#[derive(Default)]
struct State {
    url: String,
    /// Bearer → tenant.
    bearers: BTreeMap<String, String>,
    device: Device,
    /// So many addresses for uploads have lapsed before they are used.
    lapsed: usize,
    signed: BTreeMap<String, Signed>,
    objects: BTreeMap<String, Vec<u8>>,
    /// Tenant → hash of a path → what is published.
    tenants: BTreeMap<String, BTreeMap<String, Published>>,
    /// Hashes of paths that the public caches have.
    upstream: BTreeSet<String>,
    counter: u64,
}

#[derive(Clone)]
struct Hub(Arc<Mutex<State>>);

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A word that nobody guesses within a test.
    fn word(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!("{prefix}{:032x}{:04}", rand::random::<u128>(), self.counter)
    }

    /// The tenant whose credential a request has.
    fn tenant(&self, headers: &HeaderMap) -> Result<String, Box<Response>> {
        let header = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let bearer = header.strip_prefix("Bearer ").unwrap_or_default();
        self.bearers.get(bearer).cloned().ok_or_else(|| Box::new(refusal(401, "the credential is not valid")))
    }
}

/// How it refuses.
fn refusal(status: u16, why: &str) -> Response {
    (StatusCode::from_u16(status).unwrap_or_default(), Json(json!({ "error": why }))).into_response()
}

/// A control plane, gone when dropped.
pub struct Server {
    loopback: Loopback,
    pub faults: Faults,
    hub: Hub,
}

impl Server {
    pub fn start() -> anyhow::Result<Self> {
        let faults = Faults::new(refusal);
        let hub = Hub(Arc::default());
        let (state, around) = (hub.clone(), faults.clone());
        let loopback = Loopback::serve(0, |url| {
            url.clone_into(&mut state.lock().url);
            Ok(Router::new()
                .merge(identity::routes())
                .merge(upload::routes())
                .merge(publish::routes())
                .layer(middleware::from_fn_with_state(around, Faults::around))
                .with_state(state))
        })?;
        Ok(Self { loopback, faults, hub })
    }

    /// End, with every connection cut, and be back after a while with all that it had.
    pub fn restart(&mut self, away: Duration) -> anyhow::Result<()> {
        self.loopback.restart(away)
    }

    pub fn url(&self) -> &str {
        self.loopback.url()
    }

    /// Where a job of this repository asks for its identity, and with which token.
    pub fn identity_of(&self, repository: &str) -> (String, String) {
        let mut state = self.hub.lock();
        let token = state.word("request-");
        state.device.jobs.insert(token.clone(), repository.to_owned());
        (format!("{}/_identity?api-version=2.0", self.url()), token)
    }

    /// Every credential that was good so far is no more.
    pub fn forget_credentials(&self) {
        self.hub.lock().bearers.clear();
    }

    /// So many of the next addresses for uploads have lapsed before they are used.
    pub fn lapsed(&self, count: usize) {
        self.hub.lock().lapsed = count;
    }

    /// What the person with the code does: nothing for so many questions, then this.
    pub fn person(&self, after: usize, does: &'static str) {
        let mut state = self.hub.lock();
        (state.device.pending, state.device.ends) = (after, does);
    }

    /// A path of this hash is in a public cache.
    pub fn is_upstream(&self, hash: &str) {
        self.hub.lock().upstream.insert(hash.to_owned());
    }

    /// The narinfo that is served for a path.
    pub fn narinfo(&self, tenant: &str, hash: &str) -> Option<String> {
        Some(self.hub.lock().tenants.get(tenant)?.get(hash)?.narinfo.clone())
    }

    /// The tenant's public key.
    pub fn key(&self, tenant: &str) -> String {
        publish::key(tenant).1
    }
}
