use std::{fmt, str::FromStr, time::Duration};

/// A length of time as people write it: `45s`, `10m`, `12h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a length of time: write a number and s, m, h or d, e.g. 10m")]
pub struct SpanError(String);

const UNITS: [(char, u64); 4] = [('d', 86400), ('h', 3600), ('m', 60), ('s', 1)];
/// A year: what is longer is a mistake, and would overflow somewhere.
const LONGEST: u64 = 366 * 86400;

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (unit, seconds) = UNITS.iter().find(|(unit, _)| given.ends_with(*unit))?;
            let count: u64 = given.strip_suffix(*unit)?.parse().ok()?;
            count.checked_mul(*seconds).filter(|seconds| *seconds <= LONGEST).map(Duration::from_secs)
        };
        parse().map(Self).ok_or_else(|| SpanError(given.to_owned()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (unit, size) = UNITS
            .into_iter()
            .find(|(_, size)| seconds > 0 && seconds.is_multiple_of(*size))
            .unwrap_or(('s', 1));
        write!(f, "{}{unit}", seconds / size)
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn times_are_read_and_shown_in_the_largest_unit_that_fits() {
        for (given, seconds, shown) in [
            ("45s", 45, "45s"),
            ("10m", 600, "10m"),
            ("90m", 5400, "90m"),
            ("48h", 172_800, "2d"),
            ("0m", 0, "0s"),
        ] {
            let span: Span = given.parse().unwrap();
            assert_eq!((span.0.as_secs(), span.to_string().as_str()), (seconds, shown));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for given in ["", "m", "10", "-1s", "1.5h", "10 m", "10min", "99999999999d", "400d", "é"] {
            assert!(given.parse::<Span>().is_err(), "{given:?}");
        }
    }
}
