//! The order to end, which reaches PID 1 as a signal, or as a file on the host's word; whoever waits for something asks
//! for it.
//!
//! SIGHUP lets the running job end, however long it takes; SIGTERM lets it for as long as the operator has patience;
//! SIGINT does not. The file in the handover folder is a drain: as SIGHUP, and PID 1 stays until it is told more, or the
//! file is gone. Whatever the order, no new job begins after it.

use std::{
    io,
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::children;
use crate::contract;

/// How much a running job still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    AfterTheJob,
    WithPatience,
    AtOnce,
}

/// From the strongest down. PID 1 is one process with one order to wait for.
static ORDERS: LazyLock<[(i32, Order, Arc<AtomicBool>); 3]> = LazyLock::new(|| {
    [
        (SIGINT, Order::AtOnce, Arc::default()),
        (SIGTERM, Order::WithPatience, Arc::default()),
        (SIGHUP, Order::AfterTheJob, Arc::default()),
    ]
});
const TICK: Duration = Duration::from_millis(100);

/// Take the signals as orders, from now on.
pub fn listen() -> io::Result<()> {
    for (signal, _, came) in ORDERS.iter() {
        signal_hook::flag::register(*signal, Arc::clone(came))?;
    }
    Ok(())
}

/// The strongest order that came, or is in force.
pub fn order() -> Option<Order> {
    signal().or_else(|| is_drain().then_some(Order::AfterTheJob))
}

/// Whether PID 1 is to end, and not merely to rest.
pub fn signalled() -> bool {
    signal().is_some()
}

fn signal() -> Option<Order> {
    ORDERS.iter().find(|(_, _, came)| came.load(Ordering::Relaxed)).map(|(_, order, _)| *order)
}

/// Whether PID 1 is to rest rather than to end: the host wants no job, and no more than that.
pub fn is_drain() -> bool {
    signal().is_none() && is_in_force(&Path::new(contract::HANDOVER_MOUNT).join(contract::HANDOVER_DRAIN))
}

/// Whether a drain's file is there for good, or was renewed not long ago. A clock that went back renews nothing.
pub fn is_in_force(file: &Path) -> bool {
    let Ok(found) = file.metadata() else { return false };
    let age = || found.modified().ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
    found.len() == 0 || age().is_some_and(|age| age < contract::DRAIN_LEASE)
}

/// Rest for as long as the host wants no job; whether it wants some again (no: a signal came).
pub fn rest_drained() -> bool {
    while is_drain() {
        children::reap();
        thread::sleep(TICK);
    }
    signal().is_none()
}

/// Rest until the host wants another try, or a drain; whether it does (no: a signal came). Where there is no handover folder,
/// only a signal ends it.
pub fn rest_given_up() -> bool {
    let note = Path::new(contract::HANDOVER_MOUNT).join(contract::HANDOVER_GAVE_UP);
    let can_be_called_off = std::fs::write(&note, "").is_ok();
    while signal().is_none() && !is_drain() && (!can_be_called_off || note.exists()) {
        children::reap();
        thread::sleep(TICK);
    }
    let _ = std::fs::remove_file(&note);
    signal().is_none()
}

/// Whether any order came.
pub fn ordered() -> bool {
    order().is_some()
}

/// Sleep, but wake for an order; whether one came. Orphans are buried meanwhile.
pub fn rest(wait: Duration) -> bool {
    let until = Instant::now() + wait;
    while Instant::now() < until && !ordered() {
        children::reap();
        thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
    }
    ordered()
}

#[cfg(test)]
mod tests {
    use std::{fs, time::SystemTime};

    use super::is_in_force;
    use crate::contract::DRAIN_LEASE;

    #[test]
    fn a_drain_that_nobody_renews_lapses_and_an_operators_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("drain");
        assert!(!is_in_force(&file));
        let changed = |text: &str, ago| {
            fs::write(&file, text).unwrap();
            fs::File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(SystemTime::now() - ago)
                .unwrap();
            is_in_force(&file)
        };
        assert!(changed("lease", DRAIN_LEASE / 2) && !changed("lease", DRAIN_LEASE * 2));
        assert!(changed("", DRAIN_LEASE * 1000));
        // The clock went back since: nobody renews it.
        let ahead = SystemTime::now() + DRAIN_LEASE * 100;
        fs::write(&file, "lease").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(ahead).unwrap();
        assert!(!is_in_force(&file));
    }
}
