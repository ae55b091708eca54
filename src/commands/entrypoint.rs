//! `entrypoint`: PID 1 of the image, from the store's preflight to the listener's last line.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    contract::Phase,
    runner::{
        Ending, Environment, EnvironmentError, Mask, Mode, Registration, Report, Supervisor,
        credentials::{self, Credentials},
        say,
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
        credentials::hide()?;
        let credentials = Credentials::take()?;
        secrecy::harden();
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        let environment = match Environment::read(|name| std::env::var(name).ok()) {
            Ok(environment) => environment,
            Err(error @ EnvironmentError::Donate) => {
                eprintln!("vega-builder: {error}");
                return Ok(ExitCode::from(DONATE_CODE));
            }
            Err(error) => return Err(error.into()),
        };
        banner(&environment);
        let mut report = Report::new();
        match boot(&environment, credentials, &mut report) {
            Ok(Booted { closure, daemon, token }) => {
                let mask = Arc::new(Mask::default());
                let supervisor = Supervisor {
                    environment: &environment,
                    closure: &closure,
                    daemon,
                    report,
                    mask,
                    token,
                    stop,
                };
                Ok(match supervisor.run() {
                    Ending::Asked | Ending::JobDone => ExitCode::SUCCESS,
                    Ending::Broken(why) => {
                        say(&why);
                        ExitCode::FAILURE
                    }
                })
            }
            Err(error) => {
                say(&format!("{error:#}"));
                report.enter(Phase::Stopping, &format!("{error:#}"));
                pause(&stop);
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// What a boot that went well has.
struct Booted {
    closure: Closure,
    daemon: Daemon,
    token: Option<RegistrationToken>,
}

/// Make the store ready, and prove it; then the runner's root and its token.
fn boot(environment: &Environment, credentials: Credentials, report: &mut Report) -> anyhow::Result<Booted> {
    let closure = Closure::of_image(|name| std::env::var(name).ok())?;
    closure.register()?;
    closure.check()?;
    let daemon = sandbox(environment, report)?;
    let registration = Registration::new(environment, closure.runner());
    registration.prepare()?;
    // Dropped, and wiped, where a registration is saved.
    let token = if registration.is_saved() { None } else { credentials.into_token()? };
    Ok(Booted { closure, daemon, token })
}

/// Start the daemon with the sandbox that was asked for, and prove it by a real build.
fn sandbox(environment: &Environment, report: &mut Report) -> anyhow::Result<Daemon> {
    let configuration = |sandbox| Configuration {
        sandbox,
        max_jobs: environment.max_jobs,
        cores: environment.cores,
        extra_substituters: environment.extra_substituters.clone(),
        extra_trusted_public_keys: environment.extra_trusted_public_keys.clone(),
    };
    if environment.sandbox == Mode::Off {
        configuration("false").write()?;
        report.sandbox(false);
        say("VEGA_NIX_SANDBOX=false: builds are not sandboxed, and can see this container");
        return Ok(Daemon::start()?);
    }
    configuration("true").write()?;
    let daemon = Daemon::start()?;
    let why = match store::probe() {
        Ok(true) => {
            report.sandbox(true);
            return Ok(daemon);
        }
        Ok(false) => store::Error::NoSandbox("a build could see the container".to_owned()),
        Err(error) => error,
    };
    if environment.sandbox == Mode::Required {
        return Err(why.into());
    }
    say(&format!("WARNING: builds run without the sandbox: {why}"));
    daemon.stop();
    configuration("relaxed").write()?;
    report.sandbox(false);
    Ok(Daemon::start()?)
}

fn banner(environment: &Environment) {
    if !environment.quiet {
        say(&format!(
            "{} {} for {}, labels {}",
            env!("CARGO_PKG_VERSION"),
            environment.name,
            environment.repository,
            environment.labels
        ));
    }
}

fn pause(stop: &AtomicBool) {
    let until = Instant::now() + BROKEN_PAUSE;
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(200));
    }
}
