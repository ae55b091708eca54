//! What happened to a runner, from its volume.

use super::housing::Housing;
use crate::{chronicle::Reader, contract, engine, installation::Installation};

/// Nothing where it has no volume yet.
pub fn happened(housing: &Housing, installation: &Installation) -> Result<Option<Reader>, engine::Error> {
    let place = housing.root(installation)?;
    Ok(place.map(|place| Reader::at(place.join(contract::KEPT))))
}
