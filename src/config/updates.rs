//! Whether, and when, a runner is updated by itself.

use std::{str::FromStr, time::Duration};

use super::layer::{Error, Layers, Origin};
use crate::value::Span;

/// Updates by a timer, inside of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateSettings {
    /// When the window opens, as systemd's timers have it.
    pub at: CalendarEvent,
    /// How long it stays open.
    pub within: Span,
}

/// Long enough for most jobs to end in.
const WITHIN: Span = Span(Duration::from_secs(2 * 3600));

/// A calendar event of systemd's (systemd.time(7)), by its letters alone: only systemd knows what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarEvent(String);

impl CalendarEvent {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CalendarEvent {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        // It becomes a line of a unit.
        let fits = |c: char| c.is_ascii_alphanumeric() || " :*,./~_+-".contains(c);
        let is_one = !given.trim().is_empty() && given.len() <= 200 && given.chars().all(fits);
        // A lone hyphen in front would be an option of systemd's program.
        if is_one && !given.starts_with('-') {
            Ok(Self(given.trim().to_owned()))
        } else {
            Err(format!(
                "'{}' is no calendar event: write e.g. 'Sun 03:00' (systemd.time(7))",
                given.escape_debug()
            ))
        }
    }
}

impl std::fmt::Display for CalendarEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn update_of(layers: &Layers) -> Result<Option<UpdateSettings>, Error> {
    let within = layers.parsed_or("update.within", WITHIN, "enough for most jobs")?;
    let Some((at, _)) = layers.parsed("update.at")? else {
        return match within.1 {
            Origin::Default(_) => Ok(None),
            origin => Err(Error::value(
                &origin,
                "it is for updates by themselves, and none are asked for: say when with --update-at",
            )),
        };
    };
    let (within, origin) = within;
    if within.0.is_zero() {
        return Err(Error::value(&origin, "a window of no length lets no update in"));
    }
    Ok(Some(UpdateSettings { at, within }))
}

#[cfg(test)]
mod tests {
    use super::CalendarEvent;

    #[test]
    fn a_calendar_event_writes_no_other_line_into_a_unit() {
        for good in ["Sun 03:00", "Mon..Fri *-*-* 02:30:00 Europe/Berlin", "*-*~3 04:00", "*:0/15", "weekly"]
        {
            assert_eq!(good.parse::<CalendarEvent>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "--root=/x", "Sun\n[Service]", "%t", "$x", "a;b", "\"x\""] {
            assert!(bad.parse::<CalendarEvent>().is_err(), "{bad:?}");
        }
    }
}
