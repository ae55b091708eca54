//! The caps: as given, else what leaves this host headroom; never more than it has, never too little to run.

use std::{fmt, num::NonZeroU32};

use super::{
    host::Host,
    layer::{Error, Layers, Origin},
    settings::Settings,
};
use crate::value::{ByteSize, Caps};

impl Settings {
    /// What nobody gave stays as it was at an earlier installation: the host's own figures move a little from boot
    /// to boot, and a running container is not made anew for that.
    pub fn keep_caps(&mut self, installed: &Caps) {
        let [memory, cpus, pids] = &mut self.caps_origin;
        let keep = |origin: &mut Origin| {
            let is_default = matches!(origin, Origin::Default(_));
            if is_default {
                *origin = Origin::Default("as it was installed".to_owned());
            }
            is_default
        };
        if installed.memory != self.caps.memory && keep(memory) {
            self.caps.memory = installed.memory;
        }
        if installed.cpus != self.caps.cpus && keep(cpus) {
            self.caps.cpus = installed.cpus;
        }
        if installed.pids != self.caps.pids && keep(pids) {
            self.caps.pids = installed.pids;
        }
    }
}

/// The caps of one container: of the runner, or of each of its slots, which share what the host spares.
pub(super) fn caps(
    layers: &Layers,
    host: &Host,
    slots: Option<NonZeroU32>,
) -> Result<(Caps, [Origin; 3]), Error> {
    let default = host.default_caps();
    let number = slots.map_or(1, u32::from);
    let each = if number > 1 { format!("{number} slots' share of what ") } else { String::new() };
    let kept = |what: &str, all: &dyn fmt::Display| format!("{each}leaves the host {what} of its {all}");
    let own = default.shared_by(number);
    let spare = ByteSize(host.memory.0 - default.memory.0);
    let (memory, memory_origin) =
        layers.parsed_or("caps.memory", own.memory, &kept(&spare.to_string(), &host.memory))?;
    let spare = f64::from(host.processors) - f64::from(default.cpus.millis) / 1000.0;
    let (cpus, cpus_origin) = layers.parsed_or(
        "caps.cpus",
        own.cpus,
        &kept(&spare.to_string(), &format!("{} processors", host.processors)),
    )?;
    let quarter =
        format!("{each}a quarter of the host's, at most 16384").replace("share of what a", "share of a");
    let (pids, pids_origin) = layers.parsed_or("caps.pids", own.pids, &quarter)?;

    let least = ByteSize::mib(256);
    if memory > host.memory {
        let why = format!("a cap of {memory} is more than this machine's {}", host.memory);
        return Err(Error::value(&memory_origin, why));
    }
    if memory.0.saturating_mul(number.into()) > host.memory.0 {
        let why = format!("{number} slots of {memory} are more than this machine's {}", host.memory);
        return Err(Error::value(&memory_origin, why));
    }
    if memory < least {
        return Err(Error::value(
            &memory_origin,
            format!("a cap of {memory} is less than the {least} that a runner needs"),
        ));
    }
    if cpus.millis > host.processors * 1000 {
        let why = format!("a cap of {cpus} processors is more than this machine's {}", host.processors);
        return Err(Error::value(&cpus_origin, why));
    }
    if cpus.millis < 100 {
        return Err(Error::value(
            &cpus_origin,
            format!("a cap of {cpus} processors is less than the 0.1 that a runner needs"),
        ));
    }
    if pids.saturating_mul(number) > host.pids {
        let all = host.pids;
        let why = if number == 1 {
            format!("a cap of {pids} processes is more than this machine's {all}")
        } else {
            format!("{number} slots of {pids} processes are more than this machine's {all}")
        };
        return Err(Error::value(&pids_origin, why));
    }
    if pids < 64 {
        return Err(Error::value(
            &pids_origin,
            format!("a cap of {pids} processes is less than the 64 that a runner needs"),
        ));
    }
    Ok((Caps { memory, cpus, pids }, [memory_origin, cpus_origin, pids_origin]))
}

/// Less than the image itself has would leave no room for anything.
pub(super) fn disk(layers: &Layers) -> Result<Option<ByteSize>, Error> {
    at_least(layers, "caps.disk", ByteSize::gib(2), |disk, least| {
        format!("a budget of {disk} is less than the {least} that a store needs")
    })
}

/// Less would be used up before anybody has looked.
pub(super) fn min_free(layers: &Layers) -> Result<Option<ByteSize>, Error> {
    at_least(layers, "caps.min-free", ByteSize::mib(256), |free, least| {
        format!("{free} are less than the {least} that a host needs")
    })
}

fn at_least(
    layers: &Layers,
    key: &'static str,
    least: ByteSize,
    why: impl FnOnce(ByteSize, ByteSize) -> String,
) -> Result<Option<ByteSize>, Error> {
    match layers.parsed::<ByteSize>(key)? {
        Some((given, origin)) if given < least => Err(Error::value(&origin, why(given, least))),
        given => Ok(given.map(|(given, _)| given)),
    }
}
