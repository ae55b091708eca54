//! The disk budget of the store: what it holds by Nix's own figures, and when that is too much.

use std::{
    fmt, fs,
    io::{self, BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime},
};

use nix::sys::statvfs::statvfs;

use super::{Error, nix::reason};
use crate::{
    chronicle::Event,
    contract,
    runner::{children, user},
    value::ByteSize,
};

/// After a collection there is room for the next jobs: this much of the budget is left in use.
const LEFT_IN_USE: (u64, u64) = (4, 5);

/// How much the store may hold.
#[derive(Debug, Clone, Copy)]
pub struct Budget(ByteSize);

impl Budget {
    /// What the operator gives; else half of the file system on which the store lies.
    pub fn of(given: Option<ByteSize>) -> Result<Self, Error> {
        let volume = Path::new(contract::STORE_MOUNT);
        let half = || {
            let all = statvfs(volume)?;
            Ok::<u64, nix::Error>(all.blocks() * all.fragment_size() / 2)
        };
        match given {
            Some(given) => Ok(Self(given)),
            None => half().map(|bytes| Self(ByteSize(bytes))).map_err(|why| Error::file(volume, why.into())),
        }
    }

    /// What the paths may hold that many jobs' stores begin with: the rest is for what each of them adds.
    #[must_use]
    pub fn shared(self) -> Self {
        self.part(2)
    }

    /// What they hold at most, should one of them be larger than was thought: beyond it jobs had no room to work.
    #[must_use]
    pub fn most_shared(self) -> Self {
        self.part(3)
    }

    fn part(self, quarters: u64) -> Self {
        Self(ByteSize(self.0.0 / 4 * quarters))
    }

    /// How many bytes a collection of garbage is to free of a store that holds so many; nothing while it may hold them.
    pub fn excess(self, held: u64) -> Option<u64> {
        (held > self.0.0).then(|| held - self.0.0 / LEFT_IN_USE.1 * LEFT_IN_USE.0)
    }

    /// Why no job should come: all that it holds is in use.
    pub fn refusal(self, held: u64) -> String {
        format!(
            "the store holds {} that is in use, more than its disk budget of {}: raise `--disk` on the host",
            ByteSize(held),
            self.0
        )
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One collection of garbage.
#[derive(Debug, Clone, Copy)]
pub struct Collected {
    pub freed: u64,
    pub took: Duration,
}

impl Collected {
    pub fn event(self) -> Event {
        Event::GarbageCollected { freed_bytes: self.freed, seconds: self.took.as_secs_f64() }
    }
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} freed in {} s", ByteSize(self.freed), self.took.as_secs())
    }
}

/// When anything was last added to the store or deleted: its database says so.
pub fn changed() -> Option<SystemTime> {
    let files = ["/nix/var/nix/db/db.sqlite", "/nix/var/nix/db/db.sqlite-wal"];
    files.iter().filter_map(|file| fs::metadata(file).ok()?.modified().ok()).max()
}

/// The sum of what Nix knows to be in the store, however long it takes: a drain that has come is no reason to know less.
pub fn held() -> Result<u64, Error> {
    let mut sum = 0;
    known(|_, size| sum += size).map(|()| sum)
}

/// Every path that Nix knows to be in the store, and its size.
pub fn known(tell: impl FnMut(&str, u64)) -> Result<(), Error> {
    let mut command = user::as_root("nix-store");
    command.arg("--dump-db").stdin(Stdio::null());
    let failed = |why: String| Error::Nix { command: "nix-store --dump-db".to_owned(), why };
    let (told, output) = children::read(&mut command, |dump| records(BufReader::new(dump), tell))
        .map_err(|why| failed(why.to_string()))?;
    if !output.status.success() {
        return Err(failed(reason(&output.stderr)));
    }
    told.map_err(|why| failed(why.to_string()))
}

/// A path's record: path, hash, size, deriver, the number of its references, and these, a line each.
fn records(registration: impl BufRead, mut tell: impl FnMut(&str, u64)) -> io::Result<()> {
    let mut lines = registration.lines();
    while let Some(path) = lines.next().transpose()? {
        let size = lines.nth(1).transpose()?.and_then(|size| size.parse::<u64>().ok()).unwrap_or_default();
        let references = lines.nth(1).transpose()?.and_then(|count| count.parse().ok()).unwrap_or(0_usize);
        if references > 0 {
            lines.nth(references - 1).transpose()?;
        }
        tell(&path, size);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Budget, records};
    use crate::value::ByteSize;

    #[test]
    fn a_collection_leaves_a_fifth_of_the_budget_for_the_next_jobs() {
        let budget = Budget::of(Some(ByteSize(1000))).unwrap();
        assert_eq!((budget.excess(1000), budget.excess(1001)), (None, Some(201)));
    }

    #[test]
    fn every_path_of_a_registration_is_told_with_its_size() {
        let registration = "/nix/store/a\nsha256:1\n100\n\n2\n/nix/store/b\n/nix/store/c\n\
                            /nix/store/b\nsha256:2\n20\n/nix/store/b.drv\n0\n\
                            /nix/store/c\nsha256:3\n3\n\n1\n/nix/store/c\n";
        let told = |registration: &str| {
            let mut told = Vec::new();
            records(registration.as_bytes(), |path, size| told.push((path.to_owned(), size))).unwrap();
            told
        };
        let known = [("/nix/store/a", 100), ("/nix/store/b", 20), ("/nix/store/c", 3)];
        assert_eq!(told(registration), known.map(|(path, size)| (path.to_owned(), size)));
        assert_eq!(told(""), []);
    }
}
