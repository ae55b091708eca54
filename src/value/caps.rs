use std::{fmt, str::FromStr};

use super::ByteSize;

/// A share of the machine's processors in thousandths of one (engines read decimals such as `1.5`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Cpus {
    pub millis: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a number of processors: write e.g. 4 or 1.5")]
pub struct CpusError(String);

impl FromStr for Cpus {
    type Err = CpusError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let refuse = || CpusError(given.to_owned());
        let (whole, fraction) = given.trim().split_once('.').unwrap_or((given.trim(), "0"));
        if fraction.is_empty() || fraction.len() > 3 {
            return Err(refuse());
        }
        let whole: u32 = whole.parse().map_err(|_| refuse())?;
        let fraction: u32 = format!("{fraction:0<3}").parse().map_err(|_| refuse())?;
        let millis = whole.checked_mul(1000).and_then(|w| w.checked_add(fraction)).ok_or_else(refuse)?;
        Ok(Self { millis })
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.millis / 1000, self.millis % 1000);
        match rest {
            0 => write!(f, "{whole}"),
            rest => f.write_str(format!("{whole}.{rest:03}").trim_end_matches('0')),
        }
    }
}

/// The limits of one runner's container. Every field is there: a runner without a cap does not exist.
///
/// Swap is not a field: memory and swap together are capped at `memory`, so a build that is too large
/// is killed by the kernel instead of dragging the host into swapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Caps {
    pub memory: ByteSize,
    pub cpus: Cpus,
    /// Processes and threads.
    pub pids: u32,
}

impl Caps {
    /// What each of so many containers gets that share these.
    #[must_use]
    pub fn shared_by(self, number: u32) -> Self {
        let number = number.max(1);
        // Whole MiB read better in the cgroup.
        let memory =
            if number == 1 { self.memory } else { ByteSize((self.memory.0 / u64::from(number)) >> 20 << 20) };
        let millis = self.cpus.millis / number;
        let cpus = Cpus { millis: if number == 1 { millis } else { (millis / 100 * 100).max(100) } };
        Self { memory, cpus, pids: (self.pids / number).max(64) }
    }
}

impl Caps {
    /// As a container is told of its own, e.g. `memory=2147483648,millicpus=1500,pids=512`.
    pub fn variable(&self) -> String {
        format!("memory={},millicpus={},pids={}", self.memory.0, self.cpus.millis, self.pids)
    }

    /// The same read back; all three must be there.
    pub fn of_variable(value: &str) -> Option<Self> {
        let part = |name: &str| {
            let parts = value.split(',').filter_map(|part| part.split_once('='));
            parts
                .filter(|(of, _)| of.trim() == name)
                .find_map(|(_, number)| number.trim().parse::<u64>().ok())
        };
        let small = |name: &str| part(name).and_then(|number| u32::try_from(number).ok());
        Some(Self {
            memory: ByteSize(part("memory")?),
            cpus: Cpus { millis: small("millicpus")? },
            pids: small("pids")?,
        })
    }
}

impl fmt::Display for Caps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory {} (no swap), {} cpus, {} pids", self.memory, self.cpus, self.pids)
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteSize, Caps, Cpus};

    #[test]
    fn a_container_reads_its_caps_as_they_were_written() {
        let caps = Caps { memory: ByteSize::gib(2), cpus: Cpus { millis: 1500 }, pids: 512 };
        assert_eq!(caps.variable(), "memory=2147483648,millicpus=1500,pids=512");
        assert_eq!(Caps::of_variable(&caps.variable()), Some(caps));
        assert_eq!(Caps::of_variable("memory=1,pids=2"), None);
    }

    #[test]
    fn processors_are_read_and_shown_as_decimals() {
        for (given, millis, shown) in
            [("4", 4000, "4"), ("1.5", 1500, "1.5"), ("0.25", 250, "0.25"), ("2.125", 2125, "2.125")]
        {
            let cpus: Cpus = given.parse().unwrap();
            assert_eq!((cpus.millis, cpus.to_string().as_str()), (millis, shown));
        }
    }

    #[test]
    fn what_is_no_number_of_processors_is_refused() {
        for given in ["", "all", "-1", "1.", "1.2345", ".5", "1e3", "9999999999"] {
            assert!(given.parse::<Cpus>().is_err(), "{given:?}");
        }
    }
}
