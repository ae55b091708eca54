//! Updates by themselves: the timer, the service that it starts, and the window that both keep to.

use std::path::PathBuf;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::{
    Error,
    host::{property, remove, replace, systemctl},
    text::path,
};
use crate::{config::UpdateSettings, secrecy, value::RunnerName};

/// What updates a runner when nobody looks.
pub struct UpdateTimer<'a> {
    pub name: &'a RunnerName,
    /// This very program.
    pub program: PathBuf,
    pub settings: &'a UpdateSettings,
}

pub fn update_timer_name(name: &RunnerName) -> String {
    format!("vega-builder-{name}.update.timer")
}

pub fn update_service_name(name: &RunnerName) -> String {
    format!("vega-builder-{name}.update.service")
}

fn place(unit: &str) -> PathBuf {
    PathBuf::from("/etc/systemd/system").join(unit)
}

impl UpdateTimer<'_> {
    /// Write what is missing or different, and have systemd know of it.
    pub fn write(&self) -> Result<(), Error> {
        let timer = update_timer_name(self.name);
        let mut changed = replace(&place(&update_service_name(self.name)), &self.service())?;
        changed |= replace(&place(&timer), &self.timer())?;
        if changed {
            systemctl(&["daemon-reload"])?;
        }
        // Each time: somebody may have been killed after the files were written.
        systemctl(&["enable", "--quiet", &timer])?;
        systemctl(&[if changed { "restart" } else { "start" }, &timer])
    }

    pub(crate) fn timer(&self) -> String {
        let (name, at) = (self.name, &self.settings.at);
        format!(
            "# vega-builder: `update.at` of {name}\n\
             [Unit]\n\
             Description=Updates of the GitHub Actions runner {name} (vega-builder)\n\
             \n\
             [Timer]\n\
             OnCalendar={at}\n\
             # A window that this host slept through is not made up for: the next one comes.\n\
             Persistent=no\n\
             \n\
             [Install]\n\
             WantedBy=timers.target\n"
        )
    }

    pub(crate) fn service(&self) -> String {
        let (name, program) = (self.name, path(&self.program));
        format!(
            "# vega-builder: started by the timer of the same name\n\
             [Unit]\n\
             Description=An update of the GitHub Actions runner {name} (vega-builder)\n\
             Wants=network-online.target\n\
             After=network-online.target\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             ExecStart={program} update --in-window {name}\n\
             # A job went on to the end of the window: the next one tries again.\n\
             SuccessExitStatus=12\n"
        )
    }
}

/// Take back what [`UpdateTimer::write`] wrote; true when it was there.
pub fn remove_timer(name: &RunnerName) -> Result<bool, Error> {
    let timer = update_timer_name(name);
    if place(&timer).exists() {
        systemctl(&["disable", "--quiet", "--no-reload", "--now", &timer])?;
    }
    let removed = remove(&place(&timer))? | remove(&place(&update_service_name(name)))?;
    if removed {
        systemctl(&["daemon-reload"])?;
        // One that failed is remembered by its name.
        let _ = systemctl(&["reset-failed", &update_service_name(name)]);
    }
    Ok(removed)
}

/// When a runner is updated next by itself, and how that went the last time.
#[derive(Debug, serde::Serialize)]
pub struct NextUpdate {
    pub next: String,
    /// systemd's word for it: `success`, or why not.
    pub last_result: String,
}

impl NextUpdate {
    /// Nothing where no timer does that.
    pub fn of(name: &RunnerName) -> Option<Self> {
        let (timer, service) = (update_timer_name(name), update_service_name(name));
        (property(&timer, "ActiveState") == "active").then(|| Self {
            next: property(&timer, "NextElapseUSecRealtime"),
            last_result: property(&service, "Result"),
        })
    }
}

/// The end of the window that is open at this time; nothing while none is. A timer also fires when a host wakes up long
/// after its hour.
pub fn window(settings: &UpdateSettings, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let within = settings.within.0;
    let opened = |after: i64| -> Result<Option<Timestamp>, Error> {
        Ok(next(settings, after)?.filter(|opens| *opens <= now))
    };
    let (mut early, mut late) = ((now - within).as_second(), now.as_second());
    let mut opens = opened(early)?;
    // Windows may overlap: the one that opened last counts, and systemd only tells what comes after a time.
    while opens.is_some() && late - early > 1 {
        let middle = early.midpoint(late);
        match opened(middle)? {
            Some(later) => (opens, early) = (Some(later), middle),
            None => late = middle,
        }
    }
    Ok(opens.map(|opens| opens + within))
}

/// Whether systemd knows such a time, and it still comes.
pub fn expect_calendar(settings: &UpdateSettings) -> Result<(), Error> {
    match next(settings, Timestamp::now().as_second())? {
        Some(_) => Ok(()),
        None => Err(calendar(settings, "it never comes")),
    }
}

fn calendar(settings: &UpdateSettings, why: &str) -> Error {
    Error::Calendar { at: settings.at.to_string(), why: why.to_owned() }
}

/// The first time after this one, in seconds since 1970; systemd's own program knows its calendar, time zones and all.
fn next(settings: &UpdateSettings, after: i64) -> Result<Option<Timestamp>, Error> {
    let after = format!("--base-time=@{after}");
    let output = secrecy::command("systemd-analyze")
        .args(["calendar", &after, settings.at.as_str()])
        .env("LC_ALL", "C")
        .output()
        .map_err(|why| calendar(settings, &format!("systemd-analyze: {why}")))?;
    if !output.status.success() {
        return Err(calendar(settings, String::from_utf8_lossy(&output.stderr).trim()));
    }
    elapse(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| calendar(settings, "systemd-analyze's answer cannot be understood"))
}

/// What `systemd-analyze calendar` says; the line in UTC where this host's zone is another. Inside, `None` for never.
#[expect(clippy::option_option, reason = "not understood, never, and a time are three things")]
fn elapse(told: &str) -> Option<Option<Timestamp>> {
    let line = |name: &str| told.lines().find_map(|line| line.trim_start().strip_prefix(name));
    let time = line("(in UTC): ").or_else(|| line("Next elapse: "))?;
    if time == "never" {
        return Some(None);
    }
    let time = DateTime::strptime("%a %Y-%m-%d %H:%M:%S UTC", time).ok()?;
    TimeZone::UTC.to_timestamp(time).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{UpdateTimer, elapse, expect_calendar, window};
    use crate::{config::UpdateSettings, value::Span};

    fn settings(at: &str, within: &str) -> UpdateSettings {
        UpdateSettings { at: at.parse().unwrap(), within: within.parse().unwrap() }
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn a_window_is_open_for_its_length_and_no_longer() {
        // A Sunday; Berlin is two hours ahead of UTC.
        let weekly = settings("Sun 03:00 Europe/Berlin", "2h");
        for (now, end) in [
            ("2026-09-27T00:59:59Z", None),
            ("2026-09-27T01:00:00Z", Some("2026-09-27T03:00:00Z")),
            ("2026-09-27T02:59:59Z", Some("2026-09-27T03:00:00Z")),
            ("2026-09-27T03:00:00Z", None),
            ("2026-09-30T12:00:00Z", None),
        ] {
            assert_eq!(window(&weekly, at(now)).unwrap(), end.map(at), "{now}");
        }
    }

    #[test]
    fn a_time_that_systemd_does_not_know_is_told() {
        let wrong = expect_calendar(&settings("Sunn 03:00", "2h")).unwrap_err().to_string();
        assert!(wrong.contains("update.at") && wrong.contains("Sunn 03:00"), "{wrong}");
        let never = expect_calendar(&settings("2020-01-01 03:00", "2h")).unwrap_err().to_string();
        assert!(never.contains("it never comes"), "{never}");
        expect_calendar(&settings("daily", "2h")).unwrap();
    }

    #[test]
    fn the_line_in_utc_counts_where_there_is_one() {
        let told =
            "    Next elapse: Sun 2026-12-06 03:00:00 CET\n       (in UTC): Sun 2026-12-06 02:00:00 UTC\n";
        assert_eq!(elapse(told), Some(Some(at("2026-12-06T02:00:00Z"))));
        assert_eq!(elapse("    Next elapse: never\n"), Some(None));
        assert_eq!(elapse("    Next elapse: tomorrow\n"), None);
    }

    #[test]
    fn of_windows_that_overlap_the_one_that_opened_last_counts() {
        let end = window(&settings("*:0/10 UTC", "1h"), at("2026-09-27T01:05:00Z")).unwrap();
        assert_eq!(end, Some(at("2026-09-27T02:00:00Z")));
    }

    #[test]
    fn a_timer_and_its_service() {
        let (name, settings) = ("vega-x".parse().unwrap(), settings("Sun 03:00", "90m"));
        let program = "/opt/our programs/vega-builder".into();
        let timer = UpdateTimer { name: &name, program, settings: &settings };
        let has = |text: String, line: &str| assert!(text.lines().any(|one| one == line), "{line}: {text}");
        has(timer.timer(), "OnCalendar=Sun 03:00");
        has(timer.timer(), "Persistent=no");
        has(timer.service(), "ExecStart=\"/opt/our programs/vega-builder\" update --in-window vega-x");
        assert_eq!(settings.within, Span(std::time::Duration::from_secs(5400)));
    }
}
