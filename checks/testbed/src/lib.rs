//! A real registry, a private Sigstore and a simulated GitHub around the real vega-builder.

pub mod attacks;
pub mod bare_host;
pub mod bench;
pub mod by_hand;
pub mod caching;
pub mod cgroup;
pub mod conformance;
pub mod cosign;
pub mod engine;
pub mod heavy;
pub mod layout;
pub mod nix_store;
pub mod pushing;
pub mod registry;
pub mod salted;
pub mod scenario;
pub mod scene;
pub mod scripts;
pub mod search;
pub mod slots;
