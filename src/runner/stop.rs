//! The order to end, which reaches PID 1 as a signal; whoever waits for something asks for it.

use std::{
    io,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::children;

/// PID 1 is one process with one order to wait for.
static ORDERED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
const TICK: Duration = Duration::from_millis(100);

/// Take SIGTERM and SIGINT as the order, from now on.
pub fn listen() -> io::Result<()> {
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&ORDERED))?;
    }
    Ok(())
}

/// Whether the order came.
pub fn ordered() -> bool {
    ORDERED.load(Ordering::Relaxed)
}

/// Sleep, but wake for the order; whether it came. Orphans are buried meanwhile.
pub fn rest(wait: Duration) -> bool {
    let until = Instant::now() + wait;
    while Instant::now() < until && !ordered() {
        children::reap();
        thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
    }
    ordered()
}
