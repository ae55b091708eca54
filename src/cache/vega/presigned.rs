//! An address in an object store with the right to write one file there, until its time is over.

use jiff::{Timestamp, ToSpan as _, civil::DateTime, tz::TimeZone};
use url::Url;

/// No `Debug`: whoever has it may use it.
#[derive(Clone)]
pub struct Presigned(pub Url);

/// Clocks differ, and a large file takes its time.
const MARGIN: i64 = 60;

impl Presigned {
    /// Whether its time is over, or nearly so: then a refusal says nothing of what was sent.
    pub fn has_lapsed(&self, now: Timestamp) -> bool {
        self.end().is_some_and(|end| now >= end.saturating_sub((MARGIN).seconds()).unwrap_or(end))
    }

    fn end(&self) -> Option<Timestamp> {
        let field = |name: &str| {
            self.0.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let (date, seconds) = (field("X-Amz-Date")?, field("X-Amz-Expires")?.parse::<u32>().ok()?);
        let date = DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
        let begin = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
        begin.checked_add(i64::from(seconds).seconds()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Presigned;

    #[test]
    fn the_end_of_an_address_is_read_from_itself() {
        let at = |query: &str| Presigned(format!("https://r2.example/nar/x?{query}").parse().unwrap());
        let signed = at("X-Amz-Date=20261126T120000Z&X-Amz-Expires=900&X-Amz-Signature=x");
        assert!(!signed.has_lapsed("2026-11-26T12:13:59Z".parse().unwrap()));
        assert!(signed.has_lapsed("2026-11-26T12:14:00Z".parse().unwrap()));
        for query in ["", "X-Amz-Date=x&X-Amz-Expires=9", "X-Amz-Date=20261126T120000Z&X-Amz-Expires=-1"] {
            assert!(!at(query).has_lapsed("2036-01-01T00:00:00Z".parse().unwrap()), "{query}");
        }
    }
}
