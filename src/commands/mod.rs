//! One file a verb; each reads like its own manual page.

pub mod as_runner;
pub mod can_sandbox;
pub mod can_start;
pub mod completions;
pub mod down;
pub mod end_jobs;
pub mod entrypoint;
pub mod install;
pub mod job_started;
pub mod key;
pub mod lint;
pub mod man;
pub mod mint;
pub mod prepare;
pub mod prove;
pub mod push;
pub mod register;
pub mod sandbox_witness;
pub mod seed;
pub mod status;
pub mod steps;
pub mod uninstall;
pub mod up;
pub mod verify;
pub mod verify_bundle;
