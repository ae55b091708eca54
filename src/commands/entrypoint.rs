//! `entrypoint`: PID 1 of the image, from the store's preflight to the listener's last line.

use std::{process::ExitCode, sync::Arc, time::Duration};

use crate::{
    chronicle::{Chronicle, Event},
    contract::Phase,
    runner::{
        Describer, Ending, Environment, EnvironmentError, Garbage, Mask, Mode, Registration, Report,
        Supervisor, Uploads, Vault,
        credentials::{self, Credentials},
        end_all, say, stop, tidy,
    },
    secrecy,
    store::{self, Closure, Configuration, Daemon},
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
/// How long a container that cannot work stays up, so that an engine that restarts it does not spin.
const BROKEN_PAUSE: Duration = Duration::from_secs(20);

impl Entrypoint {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        stop::listen()?;
        let code = supervise().unwrap_or_else(|error| {
            say(&format!("{error:#}"));
            let donate = matches!(error.downcast_ref(), Some(EnvironmentError::Donate));
            if donate { DONATE_CODE } else { 1 }
        });
        if code != 0 {
            stop::rest(BROKEN_PAUSE);
        }
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
                report.enter(Phase::Stopping, "told to stop");
                return Ok(0);
            }
            say("it takes jobs again");
            report.enter(Phase::Starting, "");
        }
        work(&environment, std::mem::take(&mut credentials), &mut report, &chronicle)?;
        if !stop::is_drain() {
            return Ok(0);
        }
    }
}

/// From a clean store to the order to end, or to take no job for a while.
fn work(
    environment: &Environment,
    credentials: Credentials,
    report: &mut Report,
    chronicle: &Chronicle,
) -> anyhow::Result<()> {
    let Booted { closure, daemon, token } = match boot(environment, credentials, report) {
        Ok(booted) => booted,
        Err(_) if stop::ordered() => {
            report.enter(Phase::Stopping, "told to stop");
            return Ok(());
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
        describer: Describer::new(environment),
        asked: None,
        listened: false,
    };
    match supervisor.run() {
        Ending::Asked | Ending::JobDone => Ok(()),
        Ending::Broken(why) => Err(anyhow::anyhow!(why)),
    }
}

/// What a boot that went well has.
struct Booted {
    closure: Closure,
    daemon: Daemon,
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
    let daemon = match store_and_daemon(&closure, environment, report) {
        Err(error) if error.is_full_disk() && closure.is_held() => {
            say(&error);
            store::collect_garbage()?;
            store_and_daemon(&closure, environment, report)?
        }
        other => other?,
    };
    // Dropped, and wiped, where a registration is saved.
    let token = if registration.is_saved() { None } else { credentials.into_token()? };
    Ok(Booted { closure, daemon, token })
}

/// Nix knows the closure, which is whole, and builds in the sandbox that was asked for.
pub fn store_and_daemon(
    closure: &Closure,
    environment: &Environment,
    report: &mut Report,
) -> Result<Daemon, store::Error> {
    closure.register()?;
    closure.check()?;
    store::mend()?;
    let daemon = sandbox(environment, report)?;
    // Nix writes a young database, and what the proof built, without waiting for the disk.
    store::sync()?;
    Ok(daemon)
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
