//! The order to end, which reaches PID 1 as a signal; whoever waits for something asks for it.
//!
//! SIGHUP lets the running job end, however long it takes; SIGTERM lets it for as long as the operator has patience;
//! SIGINT does not. Whatever the order, no new job begins after it.

use std::{
    io,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::children;

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

/// The strongest order that came.
pub fn order() -> Option<Order> {
    ORDERS.iter().find(|(_, _, came)| came.load(Ordering::Relaxed)).map(|(_, order, _)| *order)
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
