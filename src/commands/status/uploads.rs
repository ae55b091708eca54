//! What the pusher of a runner does.

use crate::{
    cache::queue,
    engine::{self, Cli, Status as ContainerStatus},
    installation::Installation,
    value::ByteSize,
};

/// How the pusher is, and what it last said.
#[derive(serde::Serialize)]
pub(super) struct Uploads {
    runs: bool,
    #[serde(flatten)]
    said: queue::State,
}

impl Uploads {
    pub(super) fn lines(&self) -> impl Iterator<Item = (&'static str, String)> {
        let said = &self.said;
        let state = match (self.runs, said.error.as_str()) {
            (false, _) => format!(
                "{} builds wait, and the pusher does not run: type `vega-builder up` again",
                said.waiting
            ),
            (true, "") => format!("{} builds wait", said.waiting),
            (true, error) => format!("{} builds wait: {error}", said.waiting),
        };
        let pushed = format!("{} paths pushed so far, {}", said.pushed, ByteSize(said.bytes));
        let dropped = (said.dropped > 0)
            .then(|| ("", format!("{} builds found the queue full, and are not pushed", said.dropped)));
        let refused = said.refused.iter().map(|(path, why)| ("stays here", format!("{path}: {why}")));
        [("uploads", state), ("", pushed)].into_iter().chain(dropped).chain(refused)
    }
}

pub(super) fn uploads(engine: &Cli, installation: &Installation) -> Option<Uploads> {
    let pusher = engine.inspect(&engine::pusher_name(&installation.name)).ok()??;
    let place = engine.volume_place(&engine::queue_volume(&installation.name)).ok()??;
    let said = queue::State::read(&place).unwrap_or_default();
    Some(Uploads { runs: pusher.status == ContainerStatus::Running, said })
}
