//! The disk budget of the store: what it holds by Nix's own figures, and what is collected when that is too much.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::sys::statvfs::statvfs;

use super::{Error, nix::nix_store, nix::run};
use crate::{
    chronicle::Event,
    contract,
    runner::{say, user},
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

    /// Collect garbage when the store holds more.
    pub fn keep(self) -> Result<Kept, Error> {
        let held = held()?;
        if held <= self.0.0 {
            return Ok(Kept { holds: held, collected: None, over: None });
        }
        let began = Instant::now();
        let too_much = held - self.0.0 / LEFT_IN_USE.1 * LEFT_IN_USE.0;
        say(&format!("the store holds {}, and may hold {}: collecting garbage", ByteSize(held), self.0));
        let mut command = user::as_root("nix-store");
        command.args(["--gc", "--max-freed", &too_much.to_string()]).stdin(Stdio::null());
        run(&mut command, "nix-store --gc")?;
        let left = ByteSize(self::held()?);
        let collected = Some(Collected { freed: held.saturating_sub(left.0), took: began.elapsed() });
        let over = (left > self.0).then(|| {
            format!(
                "the store holds {left} that is in use, more than its disk budget of {}: raise `--disk` on the host",
                self.0
            )
        });
        Ok(Kept { holds: left.0, collected, over })
    }
}

/// What came of keeping to the budget.
#[derive(Debug)]
pub struct Kept {
    pub holds: u64,
    pub collected: Option<Collected>,
    /// Why no job should come, when that does not help.
    pub over: Option<String>,
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

/// The sum of what Nix knows to be in the store.
pub fn held() -> Result<u64, Error> {
    Ok(sum(&nix_store(&["--dump-db"], Stdio::null())?))
}

/// A path's record: path, hash, size, deriver, the number of its references, and these, a line each.
fn sum(registration: &str) -> u64 {
    let mut lines = registration.lines();
    let mut sum = 0;
    while lines.next().is_some() {
        let size = lines.nth(1).and_then(|size| size.parse::<u64>().ok()).unwrap_or_default();
        let references = lines.nth(1).and_then(|count| count.parse().ok()).unwrap_or(0_usize);
        if references > 0 {
            lines.nth(references - 1);
        }
        sum += size;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn the_sizes_of_a_registration_are_added_up() {
        let registration = "/nix/store/a\nsha256:1\n100\n\n2\n/nix/store/b\n/nix/store/c\n\
                            /nix/store/b\nsha256:2\n20\n/nix/store/b.drv\n0\n\
                            /nix/store/c\nsha256:3\n3\n\n1\n/nix/store/c\n";
        assert_eq!(sum(registration), 123);
        assert_eq!(sum(""), 0);
    }
}
