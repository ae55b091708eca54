//! One file a verb; each reads like its own manual page.

pub mod entrypoint;
pub mod job_started;
pub mod seed;
