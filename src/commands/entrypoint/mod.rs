//! `entrypoint`: PID 1 of the image, from the store's preflight to the listener's last line.

mod boot;

use std::{process::ExitCode, sync::Arc, time::Duration};

pub use self::boot::store_and_daemon;
use self::boot::{Booted, booted};
use crate::{
    chronicle::{Chronicle, Event, Reader},
    contract::Phase,
    runner::{
        ASKED, Clock, Describer, Disk, Ending, Environment, EnvironmentError, Garbage, Mask, Report,
        Supervisor, Vault,
        credentials::{self, Credentials},
        say, stop,
    },
    secrecy, store,
};

/// Supervise a runner: PID 1 of the image
///
/// Loads the closure's registration, proves that the store is whole and that builds run in Nix's sandbox,
/// registers once with the token that it was handed, and runs GitHub's runner as an unprivileged user.
#[derive(Debug, clap::Args)]
pub struct Entrypoint {}

/// Contract: a mode that does not exist yet.
const DONATE_CODE: u8 = 64;
/// How long a container that cannot work stays up, so that an engine that starts it again does not spin; twice as long each
/// time, up to the second.
const BROKEN_PAUSE: Duration = Duration::from_secs(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// So many starts that come to nothing, in a row, are none that pass.
const MOST_BROKEN: usize = 10;

impl Entrypoint {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        stop::listen()?;
        let code = supervise().unwrap_or_else(|error| {
            say(&format!("{error:#}"));
            let donate = matches!(error.downcast_ref(), Some(EnvironmentError::Donate));
            stop::rest(BROKEN_PAUSE);
            if donate { DONATE_CODE } else { 1 }
        });
        Ok(ExitCode::from(code))
    }
}

/// From the first look at the environment to the end; the exit code.
fn supervise() -> anyhow::Result<u8> {
    credentials::hide()?;
    let mut credentials = Credentials::take()?;
    secrecy::harden();
    let environment = Environment::read(|name| credentials.variable(name))?;
    banner(&environment);
    let mut report = Report::new();
    let chronicle = Chronicle::at(Vault::new(&environment.quarters).kept());
    loop {
        if stop::is_drain() {
            chronicle.note(Event::Drained);
            report.drain("");
            report.enter(
                Phase::Drained,
                "no job starts here: `vega-builder resume` on the host has it take them again",
            );
            say("drained: no job starts here until `vega-builder resume` on the host");
            if !stop::rest_drained() {
                report.enter(Phase::Stopping, ASKED);
                return Ok(0);
            }
            say("it takes jobs again");
            report.enter(Phase::Starting, "");
        }
        let why = match work(&environment, std::mem::take(&mut credentials), &mut report, &chronicle) {
            Ok(None) if stop::is_drain() => continue,
            Ok(None) => return Ok(0),
            Ok(Some(why)) => why,
            Err(error) if stop::signalled() => {
                say(&format!("{error:#}"));
                return Ok(1);
            }
            Err(error) => {
                let broken = broken_starts(&chronicle.reader());
                if environment.ephemeral || broken < MOST_BROKEN {
                    pause(&mut report, &error, broken);
                    return Ok(1);
                }
                format!("{broken} starts in a row came to nothing; the last: {error:#}")
            }
        };
        if environment.ephemeral {
            // Whoever keeps its slot decides how soon another one comes.
            report.enter(Phase::Stopping, &why);
            return Ok(1);
        }
        let message = format!("{why}; it tries no more: `vega-builder resume` on the host has it try again");
        report.enter(Phase::GaveUp, &message);
        say(&message);
        chronicle.note(Event::GaveUp { why });
        if !stop::rest_given_up() {
            report.enter(Phase::Stopping, ASKED);
            return Ok(0);
        }
        say("it tries again");
        report.enter(Phase::Starting, "");
    }
}

/// The starts that came to nothing since it last listened or gave up, this one among them.
fn broken_starts(account: &Reader) -> usize {
    let entries = account.entries();
    let is_another_story = |event: &Event| matches!(event, Event::Listening | Event::GaveUp { .. });
    let since = entries.iter().rev().take_while(|entry| !is_another_story(&entry.event));
    since.filter(|entry| matches!(&entry.event, Event::Stopped { why } if why != ASKED)).count()
}

/// Told once, with the time of the next try.
fn pause(report: &mut Report, why: &anyhow::Error, broken: usize) {
    let doubled = u32::try_from(broken.saturating_sub(1)).ok().and_then(|times| 2_u32.checked_pow(times));
    let wait = doubled.and_then(|factor| BROKEN_PAUSE.checked_mul(factor)).unwrap_or(LONGEST_PAUSE);
    let wait = wait.min(LONGEST_PAUSE);
    let message = format!("{why:#}; it ends in {} s, and begins anew", wait.as_secs());
    say(&message);
    report.enter(Phase::Stopping, &message);
    stop::rest(wait);
}

/// From a clean store to the order to end, or to take no job for a while; why it tries no more, where it does not.
fn work(
    environment: &Environment,
    credentials: Credentials,
    report: &mut Report,
    chronicle: &Chronicle,
) -> anyhow::Result<Option<String>> {
    let Booted { program, rooted, daemon, watch, token } = match booted(environment, credentials, report) {
        Ok(booted) => booted,
        Err(_) if stop::ordered() => {
            report.enter(Phase::Stopping, ASKED);
            return Ok(None);
        }
        Err(error) => {
            if error.downcast_ref().is_some_and(store::Error::is_damage) {
                report.damaged();
            }
            report.enter(Phase::Stopping, &format!("{error:#}"));
            chronicle.note(Event::Stopped { why: format!("{error:#}") });
            return Err(error);
        }
    };
    if let Some(end) = chronicle.reader().unfinished() {
        chronicle.note(end);
    }
    chronicle.note(Event::Started { version: env!("CARGO_PKG_VERSION").to_owned() });
    let supervisor = Supervisor {
        environment,
        program: &program,
        rooted: &rooted,
        daemon,
        report,
        chronicle: chronicle.clone(),
        mask: Arc::new(Mask::default()),
        token,
        garbage: Garbage::new(environment),
        watch,
        clock: Clock::new(&environment.server),
        disk: Disk::default(),
        describer: Describer::new(environment),
        asked: None,
        listened: false,
    };
    match supervisor.run() {
        Ending::Asked | Ending::JobDone => Ok(None),
        Ending::GaveUp(why) => Ok(Some(why)),
        Ending::Broken(why) => Err(anyhow::anyhow!(why)),
    }
}

fn banner(environment: &Environment) {
    if !environment.quiet {
        say(&format!(
            "{} {} for {}, labels {}",
            env!("CARGO_PKG_VERSION"),
            environment.name,
            environment.scope,
            environment.labels
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::{ASKED, Chronicle, Event, broken_starts};

    #[test]
    fn starts_that_came_to_nothing_are_counted_until_one_listens_or_it_gave_up() {
        let folder = tempfile::tempdir().unwrap();
        let chronicle = Chronicle::at(folder.path().to_owned());
        let stopped = |why: &str| chronicle.note(Event::Stopped { why: why.to_owned() });
        let count = || broken_starts(&chronicle.reader());
        stopped("damaged");
        chronicle.note(Event::Listening);
        assert_eq!(count(), 0);
        stopped("damaged");
        stopped(ASKED);
        stopped("no daemon");
        assert_eq!(count(), 2);
        chronicle.note(Event::GaveUp { why: "no daemon".to_owned() });
        stopped("no network");
        assert_eq!(count(), 1);
    }
}
