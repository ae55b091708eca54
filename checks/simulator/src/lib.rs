//! What cannot be here: GitHub, the Actions runner and the public Sigstore, for demonstrations and tests.
//! Each is held to the real one's published description; none is ever part of the product.

pub mod github;
pub mod runner;
pub mod sigstore;
