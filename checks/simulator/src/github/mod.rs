//! GitHub's runner API, a queue of jobs, and faults on demand.
//!
//! The REST calls answer as GitHub's published description says (`tests/openapi.rs` holds them to it). What
//! runs between GitHub and its runner is private to them; ours ([`protocol`]) is as small as the stand-in
//! runner needs, but for the exchange of the registration token, which is as the real one's.

#![expect(
    clippy::result_large_err,
    reason = "a refusal is a whole response, and handlers give it back as it is"
)]

mod app;
mod hosted;
mod job;
mod organization;
pub mod protocol;
mod repository;
mod rest;
mod runs;
mod schedule;
mod server;
mod state;

pub use app::App;
pub use hosted::Hosted;
pub use job::{Job, Outcome, Step};
pub use organization::Group;
pub use schedule::{Happening, Queued, schedule};
pub use server::Server;
pub use state::RunnerInfo;
