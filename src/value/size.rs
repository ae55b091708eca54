use std::{fmt, str::FromStr};

/// A number of bytes; written by people as `12g`, `512m`, `1.5GiB` (powers of 1024, as engines read them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct ByteSize(pub u64);

#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a size: write a number and b, k, m, g or t, e.g. 12g or 1536m")]
pub struct SizeError(String);

impl ByteSize {
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let refuse = || SizeError(given.to_owned());
        let text = given.trim().to_ascii_lowercase();
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let shift = match unit.trim() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(refuse()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().map_err(|_| refuse())?;
        let mut bytes = whole.checked_mul(1 << shift).ok_or_else(refuse)?;
        if !fraction.is_empty() {
            let digits = fraction.get(..fraction.len().min(6)).ok_or_else(refuse)?;
            let numerator: u64 = digits.parse().map_err(|_| refuse())?;
            let denominator = 10_u64.pow(u32::try_from(digits.len()).map_err(|_| refuse())?);
            let part = (u128::from(numerator) << shift) / u128::from(denominator);
            bytes = bytes.checked_add(u64::try_from(part).map_err(|_| refuse())?).ok_or_else(refuse)?;
        }
        Ok(Self(bytes))
    }
}

impl<'de> serde::Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"12g\"")
            }

            fn visit_str<E: serde::de::Error>(self, given: &str) -> Result<ByteSize, E> {
                given.parse().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, given: i64) -> Result<ByteSize, E> {
                u64::try_from(given).map(ByteSize).map_err(|_| E::custom("a size is not negative"))
            }

            fn visit_u64<E: serde::de::Error>(self, given: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(given))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Written with the largest unit that leaves at most one digit after the point.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 >> shift > 0 {
                let tenths = (u128::from(self.0) * 10) >> shift;
                return match tenths % 10 {
                    0 => write!(f, "{} {unit}", tenths / 10),
                    rest => write!(f, "{}.{rest} {unit}", tenths / 10),
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ByteSize;

    #[test]
    fn sizes_read_as_engines_read_them() {
        for (given, bytes) in
            [("12g", 12 << 30), ("1536m", 1536 << 20), ("1.5GiB", 3 << 29), ("100", 100), ("0.25k", 256)]
        {
            assert_eq!(given.parse::<ByteSize>().unwrap(), ByteSize(bytes), "{given}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for given in ["", "g", "12x", "-1g", "1..5g", "99999999999999999999", "9999999999t", "1.g5"] {
            assert!(given.parse::<ByteSize>().is_err(), "{given}");
        }
    }

    #[test]
    fn sizes_are_shown_with_a_unit() {
        assert_eq!(ByteSize(3 << 29).to_string(), "1.5 GiB");
        assert_eq!(ByteSize::gib(12).to_string(), "12 GiB");
        assert_eq!(ByteSize(512).to_string(), "512 B");
    }
}
