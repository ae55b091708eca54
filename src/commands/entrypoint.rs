//! `entrypoint`: PID 1 of the image, from the store's preflight to the listener's last line.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use crate::{
    chronicle::{Chronicle, Event, Reader},
    contract::Phase,
    runner::{
        ASKED, Clock, Describer, Disk, Ending, Environment, EnvironmentError, Garbage, Mask, Mode,
        Registration, Report, Supervisor, Uploads, Vault,
        credentials::{self, Credentials},
        end_all, say, stop, tidy,
    },
    secrecy,
    store::{self, Closure, Configuration, Daemon, Reserve, Watch},
    value::RegistrationToken,
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
    let chronicle = Chronicle::at(Vault::new(&environment.runner_root).kept());
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
        chronicle.note(Event::Stopped { why: format!("it gave up: {why}") });
        if !stop::rest_given_up() {
            report.enter(Phase::Stopping, ASKED);
            return Ok(0);
        }
        say("it tries again");
        report.enter(Phase::Starting, "");
    }
}

/// The starts that came to nothing since it last listened, this one among them.
fn broken_starts(account: &Reader) -> usize {
    let entries = account.entries();
    let since = entries.iter().rev().take_while(|entry| entry.event != Event::Listening);
    since.filter(|entry| matches!(&entry.event, Event::Stopped { why } if why != ASKED)).count()
}

/// Told once, with the time of the next try.
fn pause(report: &mut Report, why: &anyhow::Error, broken: usize) {
    let doubled = u32::try_from(broken.saturating_sub(1)).ok().and_then(|times| 2_u32.checked_pow(times));
    let wait = doubled.and_then(|factor| BROKEN_PAUSE.checked_mul(factor)).unwrap_or(LONGEST_PAUSE);
    let wait = wait.min(LONGEST_PAUSE);
    let message = format!("{why:#}; the container ends in {} s", wait.as_secs());
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
    let Booted { closure, daemon, watch, token } = match boot(environment, credentials, report) {
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
    chronicle.note(Event::Started { version: env!("CARGO_PKG_VERSION").to_owned() });
    let supervisor = Supervisor {
        environment,
        closure: &closure,
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

/// What a boot that went well has.
struct Booted {
    closure: Closure,
    daemon: Daemon,
    watch: Option<Watch>,
    token: Option<RegistrationToken>,
}

/// Make the runner's root clean and the store ready, and prove it; then the token.
fn boot(
    environment: &Environment,
    mut credentials: Credentials,
    report: &mut Report,
) -> anyhow::Result<Booted> {
    let closure = Closure::of_image(|name| std::env::var(name).ok())?;
    let registration = Registration::new(environment, closure.runner());
    registration.prepare()?;
    if let Some(jit) = credentials.jit.take() {
        registration.adopt_jit(&jit)?;
    }
    // What jobs of this container's last life left must not have a say in the proof.
    end_all()?;
    tidy(registration.vault());
    Describer::prepare(environment)?;
    let (daemon, paths) = match store_and_daemon(&closure, environment, report) {
        Err(error) if error.is_full_disk() && closure.is_held() => {
            say(&error);
            store::collect_garbage()?;
            store_and_daemon(&closure, environment, report)?
        }
        other => other?,
    };
    let watch = Watch::over(&closure, paths);
    if let Err(why) = &watch {
        say(&format!("the store is not watched: {why}"));
    }
    // Dropped, and wiped, where a registration is saved.
    let token = if registration.is_saved() { None } else { credentials.into_token()? };
    Ok(Booted { closure, daemon, watch: watch.ok(), token })
}

/// Nix knows the closure, which is whole, and builds in the sandbox that was asked for: its daemon, and the closure's paths.
pub fn store_and_daemon(
    closure: &Closure,
    environment: &Environment,
    report: &mut Report,
) -> Result<(Daemon, Vec<PathBuf>), store::Error> {
    closure.register()?;
    let paths = closure.check()?;
    store::mend()?;
    let daemon = sandbox(environment, report)?;
    // Nix writes a young database, and what the proof built, without waiting for the disk.
    store::sync()?;
    Ok((daemon, paths))
}

/// Start the daemon with the sandbox that was asked for, and prove it by a real build.
fn sandbox(environment: &Environment, report: &mut Report) -> Result<Daemon, store::Error> {
    let configuration = |sandbox, fallback| Configuration {
        sandbox,
        fallback,
        max_jobs: environment.max_jobs,
        cores: environment.cores,
        extra_substituters: environment.extra_substituters.clone(),
        extra_trusted_public_keys: environment.extra_trusted_public_keys.clone(),
        queues: environment.uploads != Uploads::Off,
        reserve: Reserve::of(environment.min_free),
    };
    if environment.sandbox == Mode::Off {
        configuration("false", false).write()?;
        report.sandbox(false);
        say("VEGA_NIX_SANDBOX=false: builds are not sandboxed, and can see this container");
        return Daemon::start();
    }
    configuration("true", false).write()?;
    let daemon = Daemon::start()?;
    let why = match store::probe() {
        Ok(true) => {
            report.sandbox(true);
            return Ok(daemon);
        }
        Ok(false) => store::Error::NoSandbox("a build could see the container".to_owned()),
        Err(error) => error,
    };
    if environment.sandbox == Mode::Required || why.is_full_disk() || stop::ordered() {
        daemon.stop();
        return Err(why);
    }
    daemon.stop();
    let daemon = unsandboxed(configuration)?;
    say(&format!("WARNING: builds run without the sandbox: {why}"));
    report.sandbox(false);
    Ok(daemon)
}

/// Where the sandbox cannot be: relaxed, as the contract says, if a build runs with that. Nix falls back by
/// itself where it has no namespaces at all; where it has them and is forbidden a part of what it does in
/// there, only `false` helps.
fn unsandboxed(configuration: impl Fn(&'static str, bool) -> Configuration) -> Result<Daemon, store::Error> {
    configuration("relaxed", true).write()?;
    let daemon = Daemon::start()?;
    if store::probe().is_ok() {
        return Ok(daemon);
    }
    daemon.stop();
    configuration("false", false).write()?;
    let daemon = Daemon::start()?;
    match store::probe() {
        Ok(_) => Ok(daemon),
        Err(error) => {
            daemon.stop();
            Err(error)
        }
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
