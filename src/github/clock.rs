//! What GitHub's clock says: a token is valid for a time, and a machine that is minutes off gets none accepted.

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

/// More than this GitHub does not overlook.
pub const TOLERANCE: i64 = 300;
const PATIENCE: Duration = Duration::from_secs(20);

/// How far this machine's clock is ahead of that server's, in seconds; behind it, when negative. Nobody is asked who he
/// is: every reply has a date.
pub async fn ahead(server: &Url) -> anyhow::Result<i64> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("vega-builder/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()?;
    let reply = client.head(server.clone()).send().await?;
    let date = reply.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    of_header(date).ok_or_else(|| anyhow::anyhow!("{server} tells no time"))
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
    use super::of_header;

    #[test]
    fn a_replys_date_is_compared_with_ours() {
        let ahead = of_header(Some("Thu, 01 Jan 1970 00:01:40 GMT")).unwrap();
        assert!(ahead > 1_700_000_000);
        assert_eq!(of_header(Some("soon")), None);
        assert_eq!(of_header(None), None);
    }
}
