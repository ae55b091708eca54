use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use axum::{Router, middleware::from_fn_with_state};

use super::{
    App, Group, Hosted, Job, Outcome, RunnerInfo, app, organization, protocol, repository,
    rest::{self, refusal},
    runs,
    state::State,
};
use crate::{
    fault::{Fault, Faults, Recorded},
    loopback::Loopback,
};

/// What the handlers share.
#[derive(Clone)]
pub struct Hub {
    state: Arc<Mutex<State>>,
    /// Credential → whether it may administer.
    credentials: Arc<Mutex<BTreeMap<String, bool>>>,
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

    /// A token for an App, good from now on.
    pub fn access_token(&self, administers: bool) -> String {
        let mut credentials = locked(&self.credentials);
        // In pieces: this program is in every container, where a test looks for the whole.
        let token = ["ghs_access", "tokenof", "theapp"].concat() + &format!("{:013}", credentials.len());
        credentials.insert(token.clone(), administers);
        token
    }
}

/// A simulated GitHub on the loopback; it ends when dropped.
pub struct Server {
    hub: Hub,
    faults: Faults,
    loopback: Loopback,
}

impl Server {
    pub fn start() -> anyhow::Result<Self> {
        Self::start_at(0, None)
    }

    /// On a port of its own (0: any), with what outlives a reboot in a file.
    pub fn start_at(port: u16, file: Option<PathBuf>) -> anyhow::Result<Self> {
        let kept = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let kept = kept.map(|text| serde_json::from_slice(&text)).transpose()?.unwrap_or_default();
        let hub = Hub { state: Arc::new(Mutex::new(State::new(kept, file))), credentials: Arc::default() };
        let faults = Faults::new(refusal);
        let api = rest::routes()
            .merge(repository::routes())
            .merge(organization::routes())
            .merge(app::routes())
            .merge(runs::routes())
            .merge(protocol::routes());
        let loopback = Loopback::serve(port, |url| {
            url.clone_into(&mut hub.lock().url);
            Ok(Router::new()
                .merge(api.clone())
                .nest("/api/v3", api)
                .fallback(|| async { refusal(404, "Not Found") })
                .layer(from_fn_with_state(faults.clone(), Faults::around))
                .with_state(hub.clone()))
        })?;
        Ok(Self { hub, faults, loopback })
    }

    /// `http://127.0.0.1:PORT`, what a GitHub Enterprise Server's address would be.
    pub fn url(&self) -> &str {
        self.loopback.url()
    }

    /// Let a repository exist.
    pub fn repository(&self, repository: &str) {
        self.hub.lock().repositories.entry(repository.to_owned()).or_default();
    }

    /// Change what a repository is, or has in it; it is made if there is none.
    pub fn change(&self, repository: &str, change: impl FnOnce(&mut Hosted)) {
        change(self.hub.lock().repositories.entry(repository.to_owned()).or_default());
    }

    /// Let an organisation have these groups of runners, the first of them by default.
    pub fn groups(&self, organization: &str, groups: Vec<Group>) {
        self.hub.lock().groups.insert(organization.to_owned(), groups);
    }

    /// Let a token be good: for administering, or for reading only.
    pub fn credential(&self, token: &str, administers: bool) {
        locked(&self.hub.credentials).insert(token.to_owned(), administers);
    }

    /// Let a token be good no more, as somebody revokes it.
    pub fn revoke(&self, token: &str) {
        locked(&self.hub.credentials).remove(token);
    }

    /// Let an App be installed.
    pub fn app(&self, app: App) {
        self.hub.lock().app = Some(app);
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

    /// Say until when a version of the runner is served.
    pub fn end_version(&self, at: Option<jiff::Timestamp>) {
        self.hub.lock().version_ends = at;
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
        self.faults.add(fault);
    }

    /// What still waits does not come.
    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.faults.requests()
    }
}
