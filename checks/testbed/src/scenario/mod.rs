//! The scenarios of `checks/scenarios`, one file each: what a real machine goes through, step by step, from boot to boot.
//!
//! One description serves every kind of machine; only how a runner is declared differs ([`Host`]): by `install` on a
//! Debian, by the configuration on NixOS, or by somebody who types `up`, with a container or without.

mod description;
mod host;
mod stage;
mod steps;
mod world;

pub use description::{Boot, By, Description, Then};
pub use host::{BARE, DEBIAN, Host, NixOs, PERSON};
pub use stage::{Stage, tell};
pub use world::World;
