//! One file a verb; each reads like its own manual page.

pub mod as_runner;
pub mod can_sandbox;
pub mod completions;
pub mod down;
pub mod end_jobs;
pub mod entrypoint;
pub mod job_started;
pub mod lint;
pub mod man;
pub mod mint;
pub mod prepare;
pub mod push_only;
pub mod register;
pub mod sandbox_witness;
pub mod seed;
pub mod status;
pub mod up;
pub mod verify;
pub mod verify_bundle;
