//! From the image's own store to a daemon whose sandbox was proven.

use std::{path::PathBuf, time::Duration};

use crate::{
    contract::Phase,
    runner::{
        Describer, Environment, Mode, Registration, Report, Uploads, credentials::Credentials, end_all, say,
        stop, tidy,
    },
    store::{self, Closure, Configuration, Daemon, Reserve, Watch},
    value::RegistrationToken,
};

/// Between two tries to boot on a disk without room.
const ROOM_AGAIN: Duration = Duration::from_secs(60);
/// What a boot that went well has.
pub struct Booted {
    pub closure: Closure,
    pub daemon: Daemon,
    pub watch: Option<Watch>,
    pub token: Option<RegistrationToken>,
}

/// A boot that waits for room on the disk, however long that takes.
pub fn booted(
    environment: &Environment,
    mut credentials: Credentials,
    report: &mut Report,
) -> anyhow::Result<Booted> {
    let mut told = false;
    loop {
        match boot(environment, &mut credentials, report) {
            Err(error) if store::lacks_space(&format!("{error:#}")) && !stop::ordered() => {
                let message = format!(
                    "{error:#}: no job is taken; make room on the host; next try in {} s",
                    ROOM_AGAIN.as_secs()
                );
                report.enter(Phase::Starting, &message);
                if !std::mem::replace(&mut told, true) {
                    say(&message);
                }
                stop::rest(ROOM_AGAIN);
            }
            other => return other,
        }
    }
}

/// Make the runner's root clean and the store ready, and prove it; then the token.
fn boot(
    environment: &Environment,
    credentials: &mut Credentials,
    report: &mut Report,
) -> anyhow::Result<Booted> {
    let closure = Closure::of_image(|name| std::env::var(name).ok())?;
    let registration = Registration::new(environment, closure.runner());
    registration.prepare()?;
    if let Some(jit) = &credentials.jit {
        registration.adopt_jit(jit)?;
        credentials.jit = None;
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
        // Somebody may have killed what it was done with.
        Err(error) if !error.is_damage() && !error.is_full_disk() && !stop::ordered() => {
            say(&format!("once more: {error}"));
            store_and_daemon(&closure, environment, report)?
        }
        other => other?,
    };
    let watch = Watch::over(&closure, paths);
    if let Err(why) = &watch {
        say(&format!("the store is not watched: {why}"));
    }
    // Dropped, and wiped, where a registration is saved.
    let token = if registration.is_saved() { None } else { std::mem::take(credentials).into_token()? };
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
