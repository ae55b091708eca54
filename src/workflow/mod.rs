//! What can reach a runner: workflows, their triggers, and the jobs that land on its labels.
//!
//! ```text
//! yaml → file (triggers, jobs) → situation (an event by someone's hand) → matrix, runs_on → reach → rules
//! ```

mod event;
pub mod expression;
mod file;
mod inputs;
mod known;
mod matrix;
mod needs;
mod reach;
mod runs_on;
mod set;
mod situation;
mod yaml;

pub use event::{Hand, strangers_way};
pub use file::{Job, Trigger, Workflow};
pub use known::{Known, Variables};
pub use reach::{Found, Place, Reach, Start, reach};
pub use runs_on::Certainty;
pub use set::{FileId, Reference, Set, Unread};
pub use yaml::{Fault, Node, Yaml};
