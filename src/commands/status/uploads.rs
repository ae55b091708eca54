//! What the pusher of a runner does.

use crate::{
    cache::queue,
    commands::steps::housing::Housing,
    engine::{self, Status as ContainerStatus},
    installation::Installation,
    systemd,
    value::ByteSize,
};

/// How the pusher is, and what it last said.
#[derive(serde::Serialize)]
pub(super) struct Uploads {
    runs: bool,
    /// Of the host's systemd, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(flatten)]
    said: queue::State,
}

impl Uploads {
    fn next(&self) -> String {
        match &self.service {
            Some(service) => format!("see `journalctl -u {service}`"),
            None => "type `vega-builder up` again".to_owned(),
        }
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = (&'static str, String)> {
        let said = &self.said;
        let state = match (self.runs, said.error.as_str()) {
            (false, _) => {
                format!("{} builds wait, and the pusher does not run: {}", said.waiting, self.next())
            }
            (true, "") => format!("{} builds wait", said.waiting),
            (true, error) => format!("{} builds wait: {error}", said.waiting),
        };
        let now =
            said.sending.map_or_else(String::new, |bytes| format!(", {} on their way now", ByteSize(bytes)));
        let pushed = format!("{} paths pushed so far, {}{now}", said.pushed, ByteSize(said.bytes));
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
    Some(Uploads { runs, service, said })
}
