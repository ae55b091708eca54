//! What happened to a runner, from its volume.

use crate::{
    chronicle::Reader,
    contract,
    engine::{self, Cli},
    installation::Installation,
};

/// Nothing where it has no volume yet.
pub fn happened(engine: &Cli, installation: &Installation) -> Result<Option<Reader>, engine::Error> {
    let place = engine.volume_place(&engine::runner_volume(&installation.name))?;
    Ok(place.map(|place| Reader::at(place.join(contract::KEPT))))
}
