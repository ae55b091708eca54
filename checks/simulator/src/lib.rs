//! What cannot be here: GitHub, Vega's control plane, the Actions runner and the public Sigstore, for demonstrations
//! and tests; and a registry that misbehaves, before a real one that does not. Each is held to the real one's published
//! description; none is ever part of the product.

pub mod cache;
pub mod fault;
pub mod github;
mod loopback;
pub mod objects;
pub mod registry;
pub mod runner;
pub mod sigstore;
pub mod vega;
