//! What is free where jobs write, and how much of it stays free: for the next job, and for the host.

use std::path::Path;

use nix::sys::statvfs::{Statvfs, statvfs};

use crate::value::ByteSize;

/// What a small file system keeps free, and a large one.
const PART: u64 = 10;
const MOST: ByteSize = ByteSize::gib(2);
/// Collected once, it is not at once to be collected again.
const AFTER_COLLECTION: u64 = 5;
/// A job that leaves less than this part of it is ended.
const EXHAUSTED: u64 = 8;
/// The part of a file system's inodes that stays free.
const INODES: u64 = 50;

/// How much of the disk stays free.
#[derive(Debug, Clone, Copy)]
pub struct Reserve(Option<ByteSize>);

/// Too little is free somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The bytes that a collection of garbage is to free; without a figure it is inodes that are few.
    pub wanted: Option<u64>,
    /// So little that the host suffers.
    pub is_acute: bool,
    /// What there is of it, and what there should be.
    pub said: String,
}

impl Reserve {
    /// What the operator gives; else what suits the file system.
    pub fn of(given: Option<ByteSize>) -> Self {
        Self(given)
    }

    /// The same, and beside it what a job may add to its store.
    pub fn of_job(given: Option<ByteSize>, disk: Option<ByteSize>, place: &Path) -> Self {
        let reserve = Self::of(given);
        match disk {
            Some(disk) => Self::of(Some(ByteSize(disk.0.saturating_add(reserve.of_nix(place).0)))),
            None => reserve,
        }
    }

    fn bytes(self, all: u64) -> u64 {
        self.0.map_or_else(|| MOST.0.min(all / PART), |given| given.0)
    }

    /// Where Nix's own collections begin and end while it builds, of the store at `place`.
    pub fn of_nix(self, place: &Path) -> (u64, u64) {
        let all = statvfs(place).map_or(u64::MAX, |found| found.blocks() * found.fragment_size());
        let least = self.bytes(all);
        (least, least.saturating_mul(AFTER_COLLECTION))
    }

    /// The worst shortage on the file systems of `places`. One that cannot be asked is not short of anything.
    pub fn shortage(self, places: &[&Path]) -> Option<Shortage> {
        let found = places.iter().filter_map(|place| Some((*place, statvfs(*place).ok()?)));
        let short = found.filter_map(|(place, found)| self.judge(place, &Room::of(&found)));
        short.max_by_key(|shortage| (shortage.is_acute, shortage.wanted))
    }

    fn judge(self, place: &Path, room: &Room) -> Option<Shortage> {
        let place = place.display();
        let least = self.bytes(room.all);
        if room.free < least {
            return Some(Shortage {
                wanted: Some(least.saturating_mul(AFTER_COLLECTION) - room.free),
                is_acute: room.free < least / EXHAUSTED,
                said: format!(
                    "the disk of {place} has {} free, and {} are to stay free",
                    ByteSize(room.free),
                    ByteSize(least)
                ),
            });
        }
        // A file system that counts none has no bound.
        let least = room.inodes / INODES;
        (room.free_inodes < least).then(|| Shortage {
            wanted: None,
            is_acute: room.free_inodes < least / EXHAUSTED,
            said: format!(
                "the disk of {place} has {} of {} inodes free, and {least} are to stay free",
                room.free_inodes, room.inodes
            ),
        })
    }
}

/// A file system's own figures.
struct Room {
    all: u64,
    free: u64,
    inodes: u64,
    free_inodes: u64,
}

impl Room {
    fn of(found: &Statvfs) -> Self {
        Self {
            all: found.blocks().saturating_mul(found.fragment_size()),
            free: found.blocks_available().saturating_mul(found.fragment_size()),
            inodes: found.files(),
            free_inodes: found.files_available(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Reserve, Room};
    use crate::value::ByteSize;

    const GIB: u64 = 1 << 30;

    fn judge(given: Option<ByteSize>, room: &Room) -> Option<(Option<u64>, bool, String)> {
        let shortage = Reserve::of(given).judge(Path::new("/nix"), room)?;
        Some((shortage.wanted, shortage.is_acute, shortage.said))
    }

    #[test]
    fn a_small_disk_keeps_a_tenth_free_a_large_one_two_gigabytes_and_a_given_one_what_is_given() {
        let room = |all, free| Room { all: all * GIB, free, inodes: 0, free_inodes: 0 };
        assert_eq!(judge(None, &room(10, GIB)), None);
        let (wanted, acute, said) = judge(None, &room(10, GIB - 1)).unwrap();
        assert_eq!((wanted, acute), (Some(4 * GIB + 1), false));
        assert!(said.contains("and 1 GiB are to stay free"), "{said}");
        assert_eq!(judge(None, &room(1000, 2 * GIB)), None);
        assert!(judge(None, &room(1000, GIB / 4 - 1)).unwrap().1);
        assert!(judge(Some(ByteSize::gib(20)), &room(1000, 19 * GIB)).is_some());
    }

    #[test]
    fn inodes_can_run_out_where_bytes_do_not_and_who_counts_none_has_enough() {
        let room = |inodes, free_inodes| Room { all: 100 * GIB, free: 50 * GIB, inodes, free_inodes };
        assert_eq!(judge(None, &room(0, 0)), None);
        assert_eq!(judge(None, &room(10_000, 200)), None);
        let (wanted, acute, said) = judge(None, &room(10_000, 199)).unwrap();
        assert_eq!((wanted, acute), (None, false));
        assert!(said.contains("199 of 10000 inodes"), "{said}");
        assert!(judge(None, &room(10_000, 24)).unwrap().1);
    }

    #[test]
    fn a_place_that_is_not_there_is_short_of_nothing() {
        assert_eq!(Reserve::of(Some(ByteSize(u64::MAX))).shortage(&[Path::new("/no/such/place")]), None);
        assert!(Reserve::of(Some(ByteSize(u64::MAX / 8))).shortage(&[Path::new("/")]).is_some());
    }
}
