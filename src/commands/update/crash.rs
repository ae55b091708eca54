//! What an update that was cut short between two names leaves, put right.

use crate::{
    engine::{self, Cli, predecessor_name},
    installation::{Locked, Record},
};

/// The container that the record tells of has its name again.
pub fn recover(engine: &Cli, locked: &Locked, record: &Record) -> Result<(), engine::Error> {
    let name = &locked.name;
    let Some(before) = engine.inspect(&predecessor_name(name))? else { return Ok(()) };
    let found = engine.inspect(name.as_str())?;
    let is_it = |image: &str| !record.local_id.is_empty() && image == record.local_id;
    if found.as_ref().is_some_and(|found| is_it(&found.image_id)) || !is_it(&before.image_id) {
        return Ok(());
    }
    if found.is_some() {
        engine.stop(name)?;
        engine.remove(name.as_str())?;
    }
    engine.rename(&predecessor_name(name), name.as_str())
}
