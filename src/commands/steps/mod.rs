//! What several verbs do alike, one step a file.

pub mod caching;
pub mod confinement;
pub mod container;
pub mod declared;
pub mod ending;
pub mod happened;
pub mod housing;
pub mod idle;
pub mod image;
pub mod lease;
pub mod listening;
pub mod metadata;
pub mod pruning;
pub mod push_only;
pub mod pushing;
pub mod record;
pub mod registration;
pub mod standing;
pub mod subject;
pub mod token;
pub mod updating;
pub mod verification;
pub mod version;
