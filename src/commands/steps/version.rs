//! How long GitHub goes on serving the version of its runner that an image has: about a month after the next release.

use jiff::{SignedDuration, Timestamp};

use crate::{
    github::{EndOfLife, GitHub, Runner},
    value::RunnerName,
};

/// As long before its end a version is spoken of.
const AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The version of GitHub's program in the image that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerVersion {
    pub version: String,
    /// Until when it is served; nothing where GitHub does not say so.
    pub ends: Option<EndOfLife>,
}

impl RunnerVersion {
    /// What GitHub says of it; nothing of a runner that has never connected.
    pub async fn of(github: &GitHub, runner: &Runner) -> Option<Self> {
        let version = runner.version.clone()?;
        // It is a warning ahead of time: where that cannot be had, the rest is told all the same.
        let ends = github.end_of_life(&version).await.ok().flatten();
        Some(Self { version, ends })
    }

    /// What ends soon, or has ended, and what to type.
    pub fn warning(&self, name: &RunnerName, is_on_host: bool, now: Timestamp) -> Option<String> {
        let ends = self.ends?;
        let near = |at: Option<Timestamp>| at.filter(|at| at.duration_since(now) <= AHEAD);
        let said = |at: Timestamp, ended: &str, ending: &str| {
            let days = at.duration_since(now).as_hours() / 24;
            match (at <= now, days) {
                (true, _) => format!("{ended} since {at:.0}"),
                (false, 0) => format!("{ending} after {at:.0}, in less than a day"),
                (false, 1) => format!("{ending} after {at:.0}, in a day"),
                (false, days) => format!("{ending} after {at:.0}, in {days} days"),
            }
        };
        let what = near(ends.runtime_deprecates_at)
            .map(|at| said(at, "GitHub has sent it no job", "GitHub sends it no job"))
            .or_else(|| {
                near(ends.registration_deprecates_at)
                    .map(|at| said(at, "GitHub has registered none of it", "GitHub registers none of it"))
            })?;
        Some(if is_on_host {
            format!(
                "{what}: type `vega-builder drain {name}`, unpack GitHub's newest in its place, then `vega-builder resume {name}`"
            )
        } else {
            format!("{what}: type `vega-builder update {name}`")
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::RunnerVersion;
    use crate::github::EndOfLife;

    #[test]
    fn an_end_is_told_of_fourteen_days_ahead() {
        let name = "vega-x".parse().unwrap();
        let now: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let told = |runtime: &str, registration: &str| {
            let at = |text: &str| text.parse().ok();
            let ends = EndOfLife {
                runtime_deprecates_at: at(runtime),
                registration_deprecates_at: at(registration),
            };
            RunnerVersion { version: "2.336.0".to_owned(), ends: Some(ends) }.warning(&name, false, now)
        };
        let update = "type `vega-builder update vega-x`";
        for (runtime, registration, expected) in [
            ("", "", None),
            ("2026-11-15T00:00:01Z", "", None),
            (
                "2026-11-15T00:00:00Z",
                "2026-11-02T00:00:00Z",
                Some("GitHub sends it no job after 2026-11-15T00:00:00Z, in 14 days"),
            ),
            (
                "2026-11-01T08:04:55Z",
                "",
                Some("GitHub sends it no job after 2026-11-01T08:04:55Z, in less than a day"),
            ),
            ("2026-10-31T08:04:55Z", "", Some("GitHub has sent it no job since 2026-10-31T08:04:55Z")),
            (
                "",
                "2026-11-02T00:00:00Z",
                Some("GitHub registers none of it after 2026-11-02T00:00:00Z, in a day"),
            ),
        ] {
            assert_eq!(told(runtime, registration), expected.map(|text| format!("{text}: {update}")));
        }
    }
}
