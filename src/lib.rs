//! vega-builder: the host side (`up`, `verify`, …) and PID 1 of the image (`entrypoint`).
//!
//! An arrow only points down this list: commands → domains → values. Domains do not import each other's
//! internals; what two of them share is a plain value or the [`contract`].

pub mod cache;
pub mod chronicle;
pub mod cli;
pub mod commands;
pub mod config;
pub mod contract;
pub mod engine;
pub mod exit;
pub mod github;
pub mod host;
pub mod image;
pub mod installation;
pub mod progress;
pub mod runner;
pub mod secrecy;
pub mod store;
pub mod systemd;
pub mod trust;
pub mod value;
pub mod workflow;
