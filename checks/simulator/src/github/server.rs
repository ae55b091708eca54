use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use axum::{
    Router,
    extract::{Request, State as Shared},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use tokio::{net::TcpListener, sync::oneshot};

use super::{
    Fault, Job, Kind, Outcome, RunnerInfo, protocol,
    rest::{self, refusal},
    state::State,
};

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub status: u16,
}

/// What the handlers share.
#[derive(Clone)]
pub struct Hub {
    state: Arc<Mutex<State>>,
    /// Credential → whether it may administer.
    credentials: Arc<Mutex<BTreeMap<String, bool>>>,
    pub url: String,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    pub fn credential(&self, token: &str) -> Option<bool> {
        locked(&self.credentials).get(token).copied()
    }
}

/// A simulated GitHub on the loopback, in a thread of its own; it ends when dropped.
pub struct Server {
    hub: Hub,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub fn start() -> anyhow::Result<Self> {
        Self::start_at(0, None)
    }

    /// On a port of its own (0: any), with what outlives a reboot in a file.
    pub fn start_at(port: u16, file: Option<PathBuf>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port)))?;
        let url = format!("http://{}", listener.local_addr()?);
        let kept = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let kept = kept.map(|text| serde_json::from_slice(&text)).transpose()?.unwrap_or_default();
        let state = State::new(kept, file);
        let hub = Hub { state: Arc::new(Mutex::new(state)), credentials: Arc::default(), url };
        let api = rest::routes().merge(protocol::routes());
        let router = Router::new()
            .merge(api.clone())
            .nest("/api/v3", api)
            .fallback(|| async { refusal(404, "Not Found") })
            .layer(from_fn_with_state(hub.clone(), faults))
            .with_state(hub.clone());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let serve = axum::serve(listener, router);
                tokio::select! { _ = serve => {}, _ = stopped => {} }
            });
            runtime.shutdown_background();
        });
        Ok(Self { hub, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`, what a GitHub Enterprise Server's address would be.
    pub fn url(&self) -> &str {
        &self.hub.url
    }

    /// Let a repository exist.
    pub fn repository(&self, repository: &str) {
        self.hub.lock().repositories.insert(repository.to_owned());
    }

    /// Let a token be good: for administering, or for reading only.
    pub fn credential(&self, token: &str, administers: bool) {
        locked(&self.hub.credentials).insert(token.to_owned(), administers);
    }

    /// Every registration token that was ever minted.
    pub fn tokens(&self) -> Vec<String> {
        self.hub.lock().kept.minted.clone()
    }

    pub fn minted(&self) -> usize {
        self.hub.lock().kept.minted.len()
    }

    pub fn runners(&self) -> Vec<RunnerInfo> {
        self.hub.lock().kept.runners.clone()
    }

    pub fn is_online(&self, name: &str) -> bool {
        let state = self.hub.lock();
        state.kept.runners.iter().any(|runner| runner.name == name && state.is_online(runner.id))
    }

    /// Remove a runner, as somebody does on the web page.
    pub fn forget(&self, name: &str) {
        let mut state = self.hub.lock();
        let ids: Vec<u64> = state.kept.runners.iter().filter(|r| r.name == name).map(|r| r.id).collect();
        for id in ids {
            state.remove(id);
        }
    }

    /// Serve this version of the runner no more.
    pub fn refuse_version(&self, refuse: bool) {
        self.hub.lock().refuses_version = refuse;
    }

    pub fn enqueue(&self, job: Job) -> u64 {
        self.hub.lock().enqueue(job)
    }

    pub fn outcome(&self, job: u64) -> Option<Outcome> {
        self.hub.lock().outcome(job)
    }

    pub fn log_so_far(&self, job: u64) -> String {
        self.hub.lock().log_so_far(job)
    }

    /// Wait for a job's end.
    pub fn wait(&self, job: u64, patience: Duration) -> anyhow::Result<Outcome> {
        self.until(patience, || self.outcome(job).is_some())
            .with_context(|| format!("job {job}; its log so far: {}", self.log_so_far(job)))?;
        self.outcome(job).context("the job's outcome is gone")
    }

    /// Wait until something is so.
    pub fn until(&self, patience: Duration, so: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while !so() {
            ensure!(Instant::now() < deadline, "it did not come to pass within {} s", patience.as_secs());
            thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    }

    pub fn fault(&self, fault: Fault) {
        self.hub.lock().faults.push(fault);
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.hub.lock().requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The fault that fits this request, when there is one left.
fn next_fault(hub: &Hub, method: &str, path: &str) -> Option<Kind> {
    let mut state = hub.lock();
    let fits = |fault: &Fault| fault.count > 0 && fault.method == method && path.contains(&fault.path);
    let fault = state.faults.iter_mut().find(|fault| fits(fault))?;
    fault.count -= 1;
    Some(fault.kind.clone())
}

async fn faults(Shared(hub): Shared<Hub>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let response = match next_fault(&hub, &method, &path) {
        None => next.run(request).await,
        Some(Kind::Status { status, headers, message }) => {
            let mut response = refusal(status, &message);
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), value.parse()) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
        Some(Kind::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            next.run(request).await
        }
        Some(Kind::DropReply) => {
            next.run(request).await;
            // A body that breaks off before its announced length: the connection is cut.
            let broken =
                futures_util::stream::once(async { Err::<Vec<u8>, _>(std::io::Error::other("cut")) });
            let mut response = Response::new(axum::body::Body::from_stream(broken));
            if let Ok(length) = "1000".parse() {
                response.headers_mut().insert("content-length", length);
            }
            response
        }
        Some(Kind::Redirect(to)) => {
            (axum::http::StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response()
        }
    };
    let status = response.status().as_u16();
    hub.lock().requests.push(Recorded { method, path, status });
    response
}
