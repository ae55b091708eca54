//! PID 1's day: wait for a token when there is no registration, give each job a listener of its own, bury
//! orphans, keep the daemon up, collect garbage when idle, and end in good order when told to.

mod account;
mod attending;
mod disk;
mod registering;

use std::{
    path::Path,
    sync::{Arc, Once},
    time::{Duration, Instant},
};

pub use self::disk::Disk;
use self::{
    account::oom_kills,
    attending::{STEADY, wrong_clock},
};
use super::{
    Clock, Describer, Environment, Garbage, Listener, Mask, Program, Registration, Report, Rooted, Uploads,
    Vault, Verdict, end_all,
    life::Life,
    pace::{self, Pace, Pause, SLOWEST},
    proof, say, stop, tidy,
};
use crate::{
    cache::queue::Desk,
    chronicle::{self, Chronicle},
    contract::{self, Phase},
    store::{self, Daemon, Watch},
    value::RegistrationToken,
};

/// How often what has no event of its own is looked at.
const TICK: Duration = Duration::from_millis(500);
const CONFLICT_PAUSE: Duration = Duration::from_secs(30);
/// What an end in good order is called.
pub const ASKED: &str = "told to stop";

/// Why PID 1 ends.
#[derive(Debug)]
pub enum Ending {
    /// It was told to.
    Asked,
    /// An ephemeral runner's one job is done.
    JobDone,
    /// It has failed for so long that another try is not worth it.
    GaveUp(String),
    /// What the runner needs is gone, and a restart of the container may bring it back.
    Broken(String),
}

/// What a booted container supervises.
pub struct Supervisor<'a> {
    pub environment: &'a Environment,
    pub program: &'a Program,
    /// The same at its root.
    pub rooted: &'a Rooted,
    pub daemon: Daemon,
    pub report: &'a mut Report,
    pub chronicle: Chronicle,
    pub mask: Arc<Mask>,
    /// A token that was handed in as a variable, for the first registration.
    pub token: Option<RegistrationToken>,
    pub garbage: Garbage,
    /// What the closure is compared with from time to time.
    pub watch: Option<Watch>,
    pub clock: Clock,
    pub disk: Disk,
    pub describer: Option<Describer>,
    /// Since when it is told to end with patience.
    pub asked: Option<Instant>,
    /// That it listens has been written down.
    pub listened: bool,
}

/// What follows on one listener's life.
enum Next {
    End(Ending),
    /// Its job is done: the next life begins at once.
    Job,
    /// It ended without one: start it again.
    Again {
        why: String,
        pause: Pause,
    },
}

impl Supervisor<'_> {
    /// Supervise until told to end, or until something is broken.
    pub fn run(mut self) -> Ending {
        let mut pace = Pace::default();
        let ending = loop {
            let began = Instant::now();
            let next = match self.one_life() {
                // A full disk breaks nothing.
                Err(broken) if store::lacks_space(&broken) => again(&broken, STEADY),
                Err(broken) => break Ending::Broken(broken),
                Ok(next) => next,
            };
            match next {
                Next::End(ending) => break ending,
                Next::Job => pace.reset(),
                Next::Again { why, pause } => match pace.after(began, pause) {
                    pace::Next::GiveUp => break Ending::GaveUp(why),
                    pace::Next::Wait(wait) => match self.pause(&mut pace, why, wait) {
                        Ok(true) => break Ending::Asked,
                        Ok(false) => {}
                        Err(broken) => break Ending::Broken(broken),
                    },
                },
            }
        };
        let message = match &ending {
            Ending::Asked => ASKED.to_owned(),
            Ending::JobDone => "the ephemeral runner has done its job".to_owned(),
            Ending::GaveUp(why) | Ending::Broken(why) => why.clone(),
        };
        self.report.enter(Phase::Stopping, &message);
        if !stop::is_drain() {
            self.chronicle.note(chronicle::Event::Stopped { why: message });
        }
        if matches!(ending, Ending::JobDone) {
            // Started again, the container finds nothing of the job's: no `run.sh` in the place of ours, say.
            let registration = Registration::new(self.environment, self.program);
            tidy(registration.vault());
        }
        self.garbage.stop();
        if let Some(mut describer) = self.describer.take() {
            describer.stop();
        }
        self.daemon.stop();
        ending
    }

    /// From a clean place to the listener's end.
    fn one_life(&mut self) -> Result<Next, String> {
        let environment = self.environment;
        let registration = Registration::new(environment, self.program);
        clean(registration.vault())?;
        // The next job tells of itself anew.
        let _ = std::fs::remove_file(contract::JOB);
        if let Some(why) = self.make_room()? {
            return Ok(again(&why, STEADY));
        }
        if stop::ordered() {
            // Nobody looked to the end whether a job would find room.
            return Ok(Next::End(Ending::Asked));
        }
        if let Some(why) = self.clock.wrong() {
            return Ok(again(&wrong_clock(&why), STEADY));
        }
        self.prove_caps()?;
        if registration.is_saved() {
            registration.discard_token();
            self.token = None;
        } else if !self.register(&registration)? {
            return Ok(Next::End(Ending::Asked));
        }
        registration.lay_out().map_err(|error| error.to_string())?;
        let mut life = Life::new(environment.quarters.ids);
        let oom_kills = oom_kills();
        // Which job it is, its first hook says, before any step.
        let desk = Desk::open(Path::new(contract::JOB_SOCKET), Path::new(contract::JOB));
        if let Err(why) = &desk {
            // A job is not the worse for it: only nobody knows whose its builds are.
            say(&format!("{}: {why}", contract::JOB_SOCKET));
        }
        let awaited = environment.uploads == Uploads::Awaited;
        let listener = Listener::start(
            self.rooted,
            &environment.quarters,
            &self.mask,
            awaited.then_some(contract::JOB_COMPLETED_HOOK),
        );
        let attended = match listener {
            Ok(listener) => self.attend(listener, &registration, &mut life),
            // No room for another process, say: that passes.
            Err(why) => {
                let why = format!("the listener cannot be started: {why}");
                Ok(Verdict::Unwanted(Pause::Patient(Duration::ZERO), why))
            }
        };
        drop(desk);
        // Whatever broke meanwhile: the job is not lost from the account.
        self.chronicle_job(&life, oom_kills);
        let verdict = attended?;
        if life.had_job() {
            // First of all it has no hold on the disk any more: what it has filled it gives back.
            clean(registration.vault())?;
            self.garbage.expect_more();
        }
        // A store that goes with its job needs no disk, unless its builds are pushed first.
        let is_lasting = !environment.ephemeral || environment.uploads != Uploads::Off;
        if life.had_job() && is_lasting {
            // What it built is on the disk before anything rests on it; what a crash has left in a host's store is the host's
            // to look at.
            let kept = if environment.quarters.on_host.is_some() { store::flush() } else { store::sync() };
            kept.map_err(|error| error.to_string())?;
        }
        if stop::ordered() {
            return Ok(Next::End(Ending::Asked));
        }
        self.judge(&life, verdict, &registration)
    }

    fn prove_caps(&self) -> Result<(), String> {
        static TOLD: Once = Once::new();
        let Some(asked) = &self.environment.caps else { return Ok(()) };
        if let proof::Proof::Unseen(why) = proof::prove(asked)? {
            TOLD.call_once(|| {
                say(&format!("the caps cannot be read in here, the host has to prove them: {why}"));
            });
        }
        Ok(())
    }

    fn judge(
        &mut self,
        life: &Life,
        verdict: Verdict,
        registration: &Registration<'_>,
    ) -> Result<Next, String> {
        if self.report.phase() == Phase::Busy {
            self.report.enter(Phase::Starting, "the job ended");
        }
        let ephemeral = self.environment.ephemeral;
        // A job may have had its hand in the listener's exit code: nothing follows from it but the next life.
        if ephemeral && (life.had_job() || verdict == Verdict::Done) {
            if verdict == Verdict::Retry {
                say("the job is done; its registration is read-only to it, and goes with this container");
            }
            registration.forget().map_err(|error| error.to_string())?;
            return Ok(Next::End(Ending::JobDone));
        }
        if life.had_job() {
            return Ok(Next::Job);
        }
        if verdict == Verdict::Failed && life.forgotten() {
            registration.forget().map_err(|error| error.to_string())?;
            if ephemeral {
                // Whoever starts the next one brings the next token.
                return Ok(Next::End(Ending::JobDone));
            }
            return Ok(again(
                "GitHub no longer knows this runner: it was removed there, or was offline for 14 days",
                Pause::Patient(Duration::ZERO),
            ));
        }
        Ok(match verdict {
            Verdict::Done => again("the listener ended by itself", GROWING),
            Verdict::Failed => again("the listener: it ended on an error (1)", GROWING),
            Verdict::Again(why) => again(&format!("the listener: {why}"), GROWING),
            Verdict::Retry => {
                again("the listener: it asks for another try (2)", Pause::Patient(Duration::ZERO))
            }
            Verdict::Unwanted(pause, why) => again(&why, pause),
            Verdict::SessionConflict => {
                again("another live process uses this registration (5)", Pause::Patient(CONFLICT_PAUSE))
            }
            Verdict::VersionRefused => {
                let next = match &self.environment.quarters.on_host {
                    None => "type `vega-builder update` on the host",
                    Some(_) => "unpack GitHub's newest in its place, and reload its service",
                };
                let why = format!("GitHub refuses this version of the runner (7): {next}");
                again(&why, Pause::Growing(SLOWEST))
            }
        })
    }

    /// Until the next try, of which is told once what keeps it; whether told to stop.
    fn pause(&mut self, pace: &mut Pace, why: String, wait: Duration) -> Result<bool, String> {
        let message = format!("{why}; next try in {} s", wait.as_secs());
        self.report.enter(Phase::Starting, &message);
        if pace.is_news(&why) {
            say(&message);
            self.chronicle.note(chronicle::Event::Trouble { why });
            // What follows is news as well.
            self.listened = false;
        }
        let until = Instant::now() + wait;
        while Instant::now() < until && !stop::rest(TICK.min(until.saturating_duration_since(Instant::now())))
        {
            self.look_after()?;
            self.clock.wrong();
        }
        Ok(stop::ordered())
    }
}

const GROWING: Pause = Pause::Growing(Duration::ZERO);

fn again(why: &str, pause: Pause) -> Next {
    Next::Again { why: why.to_owned(), pause }
}

/// No process of a job, and nothing that one wrote.
fn clean(vault: &Vault) -> Result<(), String> {
    let left = end_all(vault.quarters().ids).map_err(|survivors| survivors.to_string())?;
    if left > 0 {
        say(&format!("killed {left} processes that were left behind"));
    }
    tidy(vault);
    Ok(())
}
