//! From the image's own store, or the host's, to a daemon whose sandbox was proven.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;

use crate::{
    contract::{Phase, env},
    runner::{
        Describer, Environment, Mode, Program, Quarters, Registration, Report, Rooted, Uploads,
        credentials::Credentials, end_all, say, stop, tidy,
    },
    store::{self, Closure, Configuration, Daemon, Reserve, Watch},
    value::RegistrationToken,
};

/// Between two tries to boot on a disk without room.
const ROOM_AGAIN: Duration = Duration::from_secs(60);

/// What a boot that went well has.
pub struct Booted {
    pub program: Program,
    pub rooted: Rooted,
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
    let body = Body::of(environment)?;
    let program = body.program();
    let registration = Registration::new(environment, &program);
    registration.prepare()?;
    let rooted = program.rooted_at(&environment.quarters.root).context("GitHub's runner at its root")?;
    if let Some(jit) = &credentials.jit {
        registration.adopt_jit(jit)?;
        credentials.jit = None;
    }
    // What jobs of this container's last life left must not have a say in the proof.
    end_all(environment.quarters.ids)?;
    tidy(registration.vault());
    Describer::prepare(environment)?;
    let (daemon, watch) = match body.start(environment, report) {
        Err(error) if error.is_full_disk() && body.may_collect() => {
            say(&error);
            store::collect_garbage()?;
            body.start(environment, report)?
        }
        // Somebody may have killed what it was done with.
        Err(error) if !error.is_damage() && !error.is_full_disk() && !stop::ordered() => {
            say(&format!("once more: {error}"));
            body.start(environment, report)?
        }
        other => other?,
    };
    // Dropped, and wiped, where a registration is saved.
    let token = if registration.is_saved() { None } else { std::mem::take(credentials).into_token()? };
    Ok(Booted { program, rooted, daemon, watch, token })
}

/// What there is to boot from.
enum Body {
    Image(Closure),
    /// The host has a Nix store of its own, and, in this folder, GitHub's runner.
    Host(PathBuf),
}

impl Body {
    fn of(environment: &Environment) -> Result<Self, store::Error> {
        let variable = |name: &str| std::env::var(name).ok();
        if environment.quarters.on_host.is_none() {
            return Closure::of_image(variable).map(Self::Image);
        }
        let folder = variable(env::RUNNER_DIST).ok_or(store::Error::NoClosure(env::RUNNER_DIST))?;
        Ok(Self::Host(folder.into()))
    }

    fn program(&self) -> Program {
        match self {
            Self::Image(closure) => Program::in_folder(closure.runner()),
            Self::Host(folder) => Program::of_host(folder),
        }
    }

    /// Whether garbage can be collected without danger to what is started; a host's is the host's to collect.
    fn may_collect(&self) -> bool {
        matches!(self, Self::Image(closure) if closure.is_held())
    }

    /// The daemon, and what the image's part of the store is compared with from now on.
    fn start(
        &self,
        environment: &Environment,
        report: &mut Report,
    ) -> Result<(Daemon, Option<Watch>), store::Error> {
        let Self::Image(closure) = self else { return Ok((sandbox(environment, report)?, None)) };
        let (daemon, paths) = store_and_daemon(closure, environment, report)?;
        let watch = Watch::over(closure, paths);
        if let Err(why) = &watch {
            say(&format!("the store is not watched: {why}"));
        }
        Ok((daemon, watch.ok()))
    }
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
    let quarters = &environment.quarters;
    let on_host = quarters.on_host.as_deref();
    let configuration = |sandbox, fallback| Configuration {
        sandbox,
        fallback,
        max_jobs: environment.max_jobs,
        cores: environment.cores,
        extra_substituters: environment.extra_substituters.clone(),
        extra_trusted_public_keys: environment.extra_trusted_public_keys.clone(),
        queues: environment.uploads != Uploads::Off,
        reserve: Reserve::of(environment.min_free),
        user: environment.quarters.user.clone(),
        on_host: environment.quarters.on_host.clone(),
    };
    if environment.sandbox == Mode::Off {
        configuration("false", false).write()?;
        report.sandbox(false);
        say("VEGA_NIX_SANDBOX=false: builds are not sandboxed, and see all that there is");
        return Daemon::start(on_host);
    }
    configuration("true", false).write()?;
    let daemon = Daemon::start(on_host)?;
    let why = match store::probe(quarters) {
        Ok(true) => {
            report.sandbox(true);
            return Ok(daemon);
        }
        Ok(false) => store::Error::NoSandbox("a build could see outside of it".to_owned()),
        Err(error) => error,
    };
    if environment.sandbox == Mode::Required || why.is_full_disk() || stop::ordered() {
        daemon.stop();
        return Err(why);
    }
    daemon.stop();
    let daemon = unsandboxed(quarters, configuration)?;
    say(&format!("WARNING: builds run without the sandbox: {why}"));
    report.sandbox(false);
    Ok(daemon)
}

/// Where the sandbox cannot be: relaxed, as the contract says, if a build runs with that. Nix falls back by
/// itself where it has no namespaces at all; where it has them and is forbidden a part of what it does in
/// there, only `false` helps.
fn unsandboxed(
    quarters: &Quarters,
    configuration: impl Fn(&'static str, bool) -> Configuration,
) -> Result<Daemon, store::Error> {
    let on_host = quarters.on_host.as_deref();
    configuration("relaxed", true).write()?;
    let daemon = Daemon::start(on_host)?;
    if store::probe(quarters).is_ok() {
        return Ok(daemon);
    }
    daemon.stop();
    configuration("false", false).write()?;
    let daemon = Daemon::start(on_host)?;
    match store::probe(quarters) {
        Ok(_) => Ok(daemon),
        Err(error) => {
            daemon.stop();
            Err(error)
        }
    }
}
