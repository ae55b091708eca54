//! The files beside the service: the second wall, the handover folder, and the start when a token comes.

use std::path::Path;

use super::{Slots, service_name, text::path};
use crate::{
    config::JobStore,
    engine::FILLER,
    value::{ByteSize, Caps, RunnerName},
};

/// podman's monitor lives in the slice too, and is not to be the first to go.
const MONITOR: (ByteSize, u32) = (ByteSize::mib(64), 32);

/// What a container takes that has booted and waits for its turn, beside each one that works.
const WAITING: (ByteSize, u32) = (ByteSize::mib(256), 64);

/// A slice is ended as soon as the machine is to go down, and containers in it with it: their services have patience.
const NOT_AT_SHUTDOWN: &str = "DefaultDependencies=no\n";

/// The same around a container of `up`, whose only limits are the engine's.
pub fn mere_slice(name: &str) -> String {
    format!(
        "# vega-builder\n\
         [Unit]\n\
         Description=The place of {name}\n\
         {NOT_AT_SHUTDOWN}"
    )
}

/// A second wall around the container's own, a little wider: systemd's, should the engine's ever be missing.
pub fn slice(name: &RunnerName, caps: &Caps, slots: Option<Slots>) -> String {
    let spare = if slots.is_some() { WAITING } else { (ByteSize(0), 0) };
    let number = slots.map_or(1, |slots| slots.number.into());
    // And one that fetches for all of them.
    let is_warm = slots.is_some_and(|slots| slots.store == JobStore::Warm);
    let more = if is_warm { (FILLER.0.0 + MONITOR.0.0, FILLER.1 + MONITOR.1) } else { (0, 0) };
    let memory = (caps.memory.0 + MONITOR.0.0 + spare.0.0) * u64::from(number) + more.0;
    let tasks = (caps.pids + MONITOR.1 + spare.1) * number + more.1;
    let percent = f64::from(caps.cpus.millis) / 10.0 * f64::from(number);
    format!(
        "# vega-builder\n\
         [Unit]\n\
         Description=Limits of the GitHub Actions runner {name}\n\
         {NOT_AT_SHUTDOWN}\
         \n\
         [Slice]\n\
         MemoryMax={memory}\n\
         MemorySwapMax=0\n\
         CPUQuota={percent}%\n\
         TasksMax={tasks}\n"
    )
}

/// The folder on a tmpfs through which a token goes in; /run is empty after a reboot.
pub fn tmpfiles(name: &RunnerName, handover: &Path, owner: u32) -> String {
    let folder = handover.display();
    format!("# vega-builder: the handover folder of {name}\nd {folder} 0700 {owner} {owner} -\n")
}

/// `register` lays a token down: then the runner starts.
pub fn path_unit(name: &RunnerName, handover: &Path) -> String {
    let token = handover.join(crate::contract::HANDOVER_TOKEN);
    format!(
        "# vega-builder\n\
         [Unit]\n\
         Description=A registration token for the GitHub Actions runner {name}\n\
         \n\
         [Path]\n\
         PathExists={token}\n\
         Unit={service}\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        token = path(&token),
        service = service_name(name),
    )
}
