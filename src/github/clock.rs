//! What GitHub's clock says: a token is valid for a time, and a machine that is minutes off gets none accepted.

use std::{error::Error, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

/// More than this GitHub does not overlook.
const TOLERANCE: i64 = 300;
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server's reply tells of this machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// So many seconds ahead; behind, when negative.
    Ahead(i64),
    /// The server's certificate has lapsed, or is not valid yet, by this clock: one that has lost its battery says 1970.
    OutsideOfCertificate,
}

impl Reading {
    /// Why no token would be accepted.
    pub fn complaint(self) -> Option<String> {
        match self {
            Self::Ahead(ahead) => (ahead.abs() > TOLERANCE).then(|| sentence(ahead)),
            Self::OutsideOfCertificate => {
                Some("GitHub's certificate is not valid at the time of this machine's clock".to_owned())
            }
        }
    }
}

/// Compare this machine's clock with that server's. Nobody is asked who he is: every reply has a date.
pub async fn read(server: &Url) -> anyhow::Result<Reading> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("vega-builder/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()?;
    let reply = match client.head(server.clone()).send().await {
        Err(why) if is_of_another_time(&why) => return Ok(Reading::OutsideOfCertificate),
        reply => reply?,
    };
    let date = reply.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let ahead = of_header(date).ok_or_else(|| anyhow::anyhow!("{server} tells no time"))?;
    Ok(Reading::Ahead(ahead))
}

fn is_of_another_time(why: &(dyn Error + 'static)) -> bool {
    use rustls::{CertificateError as Certificate, Error as Tls};
    let mut cause = Some(why);
    while let Some(error) = cause {
        // TLS hides its own in an error of input and output.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<Tls>()).or_else(|| error.downcast_ref::<Tls>());
        if let Some(Tls::InvalidCertificate(why)) = tls {
            return matches!(
                why,
                Certificate::Expired
                    | Certificate::ExpiredContext { .. }
                    | Certificate::NotValidYet
                    | Certificate::NotValidYetContext { .. }
            );
        }
        cause = error.source();
    }
    false
}

/// What a person is told of it.
pub fn sentence(ahead: i64) -> String {
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    format!("this machine's clock is {} s {side} GitHub's", ahead.unsigned_abs())
}

/// The same of a reply's date.
pub(super) fn of_header(date: Option<&str>) -> Option<i64> {
    let theirs = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date?).ok()?;
    Some(Timestamp::now().as_second() - theirs.as_second())
}

#[cfg(test)]
mod tests {
    use super::{Reading, TOLERANCE, of_header};

    #[test]
    fn a_replys_date_is_compared_with_ours() {
        let ahead = of_header(Some("Thu, 01 Jan 1970 00:01:40 GMT")).unwrap();
        assert!(ahead > 1_700_000_000);
        assert_eq!(of_header(Some("soon")), None);
        assert_eq!(of_header(None), None);
    }

    #[test]
    fn minutes_are_overlooked_and_more_is_not() {
        assert_eq!(Reading::Ahead(-TOLERANCE).complaint(), None);
        let said = Reading::Ahead(-TOLERANCE - 1).complaint().unwrap();
        assert_eq!(said, "this machine's clock is 301 s behind GitHub's");
        assert!(Reading::OutsideOfCertificate.complaint().is_some());
    }
}
