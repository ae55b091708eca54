//! What the pusher of a runner does.

use crate::{
    cache::queue,
    commands::steps::housing::Housing,
    engine::{self, Cli, Status as ContainerStatus},
    installation::Installation,
    systemd,
    value::{ByteSize, RunnerName},
};

/// How the pusher is, and what it last said.
#[derive(serde::Serialize)]
pub(super) struct Uploads {
    runs: bool,
    /// Of the host's systemd, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// What tells more of one that does not run.
    #[serde(skip)]
    next: String,
    #[serde(skip)]
    by: &'static str,
    #[serde(flatten)]
    said: queue::State,
}

impl Uploads {
    pub(super) fn lines(&self) -> impl Iterator<Item = (&'static str, String)> {
        let said = &self.said;
        let state = match (self.runs, said.error.as_str()) {
            (false, _) => {
                format!("{} builds wait, and the pusher does not run: {}", said.waiting, self.next)
            }
            (true, "") => format!("{} builds wait", said.waiting),
            (true, error) => format!("{} builds wait: {error}", said.waiting),
        };
        let now =
            said.sending.map_or_else(String::new, |bytes| format!(", {} on their way now", ByteSize(bytes)));
        let pushed = format!("{} paths pushed so far{}, {}{now}", said.pushed, self.by, ByteSize(said.bytes));
        let dropped = (said.dropped > 0)
            .then(|| ("", format!("{} builds found the queue full, and are not pushed", said.dropped)));
        let refused = said.refused.iter().map(|(path, why)| ("stays here", format!("{path}: {why}")));
        [("uploads", state), ("", pushed)].into_iter().chain(dropped).chain(refused)
    }
}

pub(super) fn uploads(housing: &Housing, installation: &Installation) -> Option<Uploads> {
    let service = installation.is_declared().then(|| systemd::pusher_service_name(&installation.name));
    let runs = match &service {
        Some(_) if !installation.cache().exists() => return None,
        Some(service) => systemd::property(service, "ActiveState") == "active",
        None => {
            let pusher = housing.engine()?.inspect(&engine::pusher_name(&installation.name)).ok()??;
            pusher.status == ContainerStatus::Running
        }
    };
    let place = housing.queue(installation).ok()??;
    let said = queue::State::read(&place).unwrap_or_default();
    let next = match &service {
        Some(service) => format!("see `journalctl -u {service}`"),
        None => "type `vega-builder up` again".to_owned(),
    };
    Some(Uploads { runs, service, next, by: "", said })
}

/// The same of an ephemeral runner's jobs, those that are over among them, each of which has a pusher of its own.
pub(super) fn uploads_of_jobs(engine: &Cli, runner: &RunnerName) -> Option<Uploads> {
    let mut all: Option<Uploads> = None;
    for job in engine.jobs_with_volumes(runner).ok()? {
        let Ok(Some(place)) = engine.volume_place(&engine::queue_volume(&job)) else { continue };
        let name = engine::pusher_name(&job);
        let pusher = engine.inspect(&name).ok().flatten();
        let runs = pusher.is_some_and(|pusher| pusher.status == ContainerStatus::Running);
        let said = queue::State::read(&place).unwrap_or_default();
        let all = all.get_or_insert_with(|| Uploads {
            runs: true,
            service: None,
            next: String::new(),
            by: " by the jobs that are still here",
            said: queue::State::default(),
        });
        if !runs && said.waiting > 0 {
            all.runs = false;
            all.next = format!("see `{} logs {name}`", engine.program());
        }
        all.said.add(said);
    }
    all
}
