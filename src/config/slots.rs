//! How many jobs an ephemeral runner takes at once, and what their stores begin with.

use std::{fmt, num::NonZeroU32, str::FromStr};

use super::layer::{Error, Layers, Origin};
use crate::value::RunnerName;

/// More at once than a host should be asked for.
const MOST: u32 = 64;
/// What stands behind the runner's name in those of its jobs' runners, and of what pushes their builds: GitHub takes 64
/// letters, and so does the kernel for a host's name.
const LONGEST_NAME: usize = 64 - ".job-abcdef.pusher".len();

/// As somebody writes it: a number, or the word for none or one.
struct Slots(Option<NonZeroU32>);

impl FromStr for Slots {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let number = match given {
            "false" => 0,
            "true" => 1,
            number => number.parse().ok().filter(|number| *number <= MOST).ok_or_else(|| {
                format!("'{given}' is no number of slots; write how many jobs may run at once, 0 to {MOST}")
            })?,
        };
        Ok(Self(NonZeroU32::new(number)))
    }
}

/// What the store of an ephemeral runner's job begins with. What a job adds to it is discarded with the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JobStore {
    /// The image's own paths.
    #[default]
    Fresh,
    /// And what earlier jobs had from caches, fetched once more where no job is.
    Warm,
}

impl FromStr for JobStore {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        match given {
            "fresh" => Ok(Self::Fresh),
            "warm" => Ok(Self::Warm),
            other => Err(format!("'{other}' is not what a job's store can begin with; write fresh or warm")),
        }
    }
}

impl fmt::Display for JobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fresh => "fresh",
            Self::Warm => "warm",
        })
    }
}

/// A runner that stays keeps its store.
pub(super) fn job_store(layers: &Layers, slots: Option<NonZeroU32>) -> Result<JobStore, Error> {
    let (store, origin): (JobStore, _) =
        layers.parsed_or("nix.store", JobStore::default(), "nothing is shared")?;
    if slots.is_none() && store != JobStore::default() {
        let why =
            "only the jobs of an ephemeral runner have stores of their own; add --ephemeral, or leave it out";
        return Err(Error::value(&origin, why));
    }
    Ok(store)
}

/// Nothing: the runner stays, and takes one job after the other.
pub(super) fn slots(layers: &Layers, name: &RunnerName) -> Result<Option<NonZeroU32>, Error> {
    let stays = Slots(None);
    let (Slots(slots), origin): (_, Origin) = layers.parsed_or("ephemeral", stays, "it stays")?;
    if name.as_str().contains(".job-") {
        let why = format!(
            "'{name}' looks like the name of a job's own runner (.job-); give another one with --name"
        );
        return Err(Error::value(&Origin::Flag("--name"), why));
    }
    if slots.is_some() && name.as_str().len() > LONGEST_NAME {
        let why = format!(
            "the name {name} is longer than the {LONGEST_NAME} letters that leave room for a job's own; give a shorter one with --name"
        );
        return Err(Error::value(&origin, why));
    }
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn slots_are_a_number_or_the_words_of_old() {
        let of = |text: &str| text.parse::<Slots>().map(|slots| slots.0.map_or(0, u32::from));
        assert_eq!((of("0"), of("false"), of("true"), of("3")), (Ok(0), Ok(0), Ok(1), Ok(3)));
        for wrong in ["-1", "65", "two", "", "1.5"] {
            assert!(of(wrong).unwrap_err().contains("no number of slots"), "{wrong}");
        }
    }
}
