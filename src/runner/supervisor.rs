//! PID 1's day: wait for a token when there is no registration, listen, bury orphans, keep the daemon up,
//! collect garbage when idle, and end in good order when told to.

use std::{
    fmt,
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Environment, Event, Listener, Mask, Registration, Report, Verdict, children, kill_leftovers, user,
};
use crate::{
    contract::Phase,
    store::{Closure, Daemon},
    value::RegistrationToken,
};

/// How often what has no event of its own is looked at.
const TICK: Duration = Duration::from_millis(500);
/// How long a job gets to end when the container is stopped; the engine kills after 60 s.
const PATIENCE: Duration = Duration::from_secs(50);
const SLOWEST: Duration = Duration::from_secs(300);
const CONFLICT_PAUSE: Duration = Duration::from_secs(30);

/// Why PID 1 ends.
#[derive(Debug)]
pub enum Ending {
    /// It was told to.
    Asked,
    /// An ephemeral runner's one job is done.
    JobDone,
    /// What the runner needs is gone, and a restart of the container may bring it back.
    Broken(String),
}

/// What a booted container supervises.
pub struct Supervisor<'a> {
    pub environment: &'a Environment,
    pub closure: &'a Closure,
    pub daemon: Daemon,
    pub report: Report,
    pub mask: Arc<Mask>,
    /// A token that was handed in as a variable, for the first registration.
    pub token: Option<RegistrationToken>,
    /// Set by SIGTERM and SIGINT.
    pub stop: Arc<AtomicBool>,
}

impl Supervisor<'_> {
    /// Supervise until told to end, or until something is broken.
    pub fn run(mut self) -> Ending {
        let mut pause = Duration::from_secs(1);
        let ending = loop {
            let listened = Instant::now();
            match self.one_life() {
                Ok(Life::Ended(ending)) => break ending,
                Ok(Life::Again { why, least }) => {
                    // A listener that lived long is no crash loop.
                    pause = if listened.elapsed() > SLOWEST { Duration::from_secs(1) } else { pause };
                    let wait = pause.max(least);
                    self.report.enter(Phase::Starting, &format!("{why}; next try in {} s", wait.as_secs()));
                    say(&format!("{why}; next try in {} s", wait.as_secs()));
                    if self.rest(wait) {
                        break Ending::Asked;
                    }
                    pause = (pause * 2).min(SLOWEST);
                }
                Err(broken) => break Ending::Broken(broken),
            }
        };
        let message = match &ending {
            Ending::Asked => "told to stop".to_owned(),
            Ending::JobDone => "the ephemeral runner has done its job".to_owned(),
            Ending::Broken(why) => why.clone(),
        };
        self.report.enter(Phase::Stopping, &message);
        self.daemon.stop();
        ending
    }

    /// From registration to the listener's end.
    fn one_life(&mut self) -> Result<Life, String> {
        let environment = self.environment;
        let registration = Registration::new(environment, self.closure.runner());
        if registration.is_saved() {
            registration.discard_token();
            self.token = None;
        } else if !self.register(&registration)? {
            return Ok(Life::Ended(Ending::Asked));
        }
        let mut listener = Listener::start(self.closure.runner(), &environment.runner_root, &self.mask)
            .map_err(|why| format!("the runner's listener cannot be started: {why}"))?;
        let mut forgotten = false;
        let mut garbage = Garbage::new(environment);
        let verdict = loop {
            if self.stop.load(Ordering::Relaxed) {
                listener.stop(PATIENCE);
                kill_leftovers(0);
                return Ok(Life::Ended(Ending::Asked));
            }
            match listener.event(TICK) {
                Some(Event::Listening) => self.report.enter(Phase::Listening, ""),
                Some(Event::Running(job)) => self.report.enter(Phase::Busy, &format!("running {job}")),
                Some(Event::Completed(what)) => self.job_ended(&listener, &what),
                Some(Event::RegistrationDeleted) => forgotten = true,
                None => {}
            }
            children::reap_orphans();
            if let Some(verdict) = listener.ended() {
                break verdict;
            }
            if let Err(broken) = self.look_after(&mut garbage) {
                // Broken is offline: a job would only fail here.
                listener.stop(Duration::from_secs(10));
                return Err(broken);
            }
        };
        kill_leftovers(0);
        if forgotten {
            registration.forget().map_err(|error| error.to_string())?;
            let why = "GitHub no longer knows this runner: it was removed there, or was offline for 14 days";
            return Ok(Life::Again { why: why.to_owned(), least: Duration::ZERO });
        }
        Ok(match verdict {
            Verdict::Done if environment.ephemeral => {
                registration.forget().map_err(|error| error.to_string())?;
                Life::Ended(Ending::JobDone)
            }
            Verdict::Done => Life::Again { why: "the listener ended by itself".to_owned(), least: Duration::ZERO },
            Verdict::Again(why) => Life::Again { why: format!("the listener: {why}"), least: Duration::ZERO },
            Verdict::SessionConflict => Life::Again {
                why: "another live process uses this registration (5)".to_owned(),
                least: CONFLICT_PAUSE,
            },
            Verdict::VersionRefused => Life::Again {
                why: "GitHub refuses this version of the runner (7): type `vega-builder up` on the host to get a newer image"
                    .to_owned(),
                least: SLOWEST,
            },
        })
    }

    /// Wait for a token, and use it; whether there is a registration now (no: told to stop).
    fn register(&mut self, registration: &Registration<'_>) -> Result<bool, String> {
        let mut message = "no registration is saved: type `vega-builder register` on the host".to_owned();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            // One that came as a variable first: it is here once only.
            let token = self.token.take().map_or_else(|| registration.take_token(), |token| Ok(Some(token)));
            match token {
                Ok(Some(token)) => {
                    self.report.enter(Phase::Registering, "registering with GitHub");
                    match registration.configure(&token, &self.mask) {
                        Ok(()) => return Ok(true),
                        Err(error) => {
                            message =
                                format!("{error}; type `vega-builder register` on the host for another try");
                        }
                    }
                }
                Ok(None) => {}
                Err(error) => message = error.to_string(),
            }
            if self.report.phase() != Phase::WaitingForToken {
                say(&message);
                self.report.enter(Phase::WaitingForToken, &message);
            }
            children::reap_orphans();
            self.keep_daemon()?;
            thread::sleep(TICK / 2);
        }
    }

    /// After a job: nothing of it stays to see the next one.
    fn job_ended(&mut self, listener: &Listener, what: &str) {
        let left = kill_leftovers(listener.pid());
        if left > 0 {
            say(&format!("killed {left} processes that the job had left behind"));
        }
        self.report.enter(Phase::Listening, what);
    }

    fn look_after(&mut self, garbage: &mut Option<Garbage>) -> Result<(), String> {
        self.keep_daemon()?;
        if !self.closure.is_present() {
            return Err("the runner's program is gone from the store".to_owned());
        }
        if let Some(garbage) = garbage
            && self.report.phase() == Phase::Listening
        {
            garbage.collect_when_due();
        }
        Ok(())
    }

    fn keep_daemon(&mut self) -> Result<(), String> {
        let Some(status) = self.daemon.ended() else { return Ok(()) };
        say(&format!("nix-daemon ended ({status}): starting it again"));
        self.daemon = Daemon::start().map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Sleep, but wake for an order to stop; whether it came.
    fn rest(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.stop.load(Ordering::Relaxed) {
            children::reap_orphans();
            thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
        self.stop.load(Ordering::Relaxed)
    }
}

enum Life {
    Ended(Ending),
    /// Start the listener again, not before `least`.
    Again {
        why: String,
        least: Duration,
    },
}

/// The garbage collection of a runner that stays.
struct Garbage {
    older_than: String,
    interval: Duration,
    due: Instant,
    running: Option<Child>,
}

impl Garbage {
    fn new(environment: &Environment) -> Option<Self> {
        let collection = environment.collection.as_ref()?;
        Some(Self {
            older_than: collection.delete_older_than.clone(),
            interval: collection.interval,
            due: Instant::now() + collection.initial_delay,
            running: None,
        })
    }

    fn collect_when_due(&mut self) {
        if let Some(child) = &mut self.running {
            if let Some(status) = children::ended(child) {
                say(&format!("garbage collection ended: {status}"));
                self.running = None;
            }
        } else if Instant::now() >= self.due {
            self.due = Instant::now() + self.interval;
            let mut command: Command = user::as_root("nix-collect-garbage");
            command.args(["--delete-older-than", &self.older_than]);
            match children::spawn(&mut command) {
                Ok(child) => self.running = Some(child),
                Err(why) => say(&format!("garbage cannot be collected: {why}")),
            }
        }
    }
}

/// One line of our own in the container's log.
pub fn say(what: &(impl fmt::Display + ?Sized)) {
    println!("vega-builder: {what}");
}
