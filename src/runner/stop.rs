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
    time::{Duration, Instant},
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

fn signal() -> Option<Order> {
    ORDERS.iter().find(|(_, _, came)| came.load(Ordering::Relaxed)).map(|(_, order, _)| *order)
}

/// Whether PID 1 is to rest rather than to end: the host wants no job, and no more than that.
pub fn is_drain() -> bool {
    signal().is_none() && Path::new(contract::HANDOVER_MOUNT).join(contract::HANDOVER_DRAIN).exists()
}

/// Rest for as long as the host wants no job; whether it wants some again (no: a signal came).
pub fn rest_drained() -> bool {
    while is_drain() {
        children::reap();
        thread::sleep(TICK);
    }
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
