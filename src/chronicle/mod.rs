//! What happens to a runner: events as JSON lines and their sums, written by PID 1 for whoever asks later.
//!
//! Both lie in root's folder of the runner's volume: no job reaches them, and they outlive container, image and reboot.

mod event;
mod log;
mod totals;

pub use event::{Entry, Event, JobResult};
pub use log::{Chronicle, Reader};
pub use totals::Totals;
