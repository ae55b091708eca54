//! PID 1's day: wait for a token when there is no registration, give each job a listener of its own, bury
//! orphans, keep the daemon up, collect garbage when idle, and end in good order when told to.

mod account;
mod registering;

use std::{
    path::Path,
    sync::{Arc, Once},
    time::{Duration, Instant},
};

use self::account::oom_kills;
use super::{
    Describer, Environment, Event, Garbage, Listener, Mask, Registration, Report, Uploads, Vault, Verdict,
    children, end_all, life::Life, proof, say, stop, stop::Order, tidy,
};
use crate::{
    cache::queue::Desk,
    chronicle::{self, Chronicle},
    contract::{self, Phase},
    store::{self, Budget, Closure, Daemon},
    value::RegistrationToken,
};

/// How often what has no event of its own is looked at.
const TICK: Duration = Duration::from_millis(500);
/// How long a job that is cancelled gets to end; the engine kills ten seconds after that.
const PATIENCE: Duration = Duration::from_secs(50);
const SLOWEST: Duration = Duration::from_secs(300);
const CONFLICT_PAUSE: Duration = Duration::from_secs(30);
/// Between two looks at a store that holds too much.
const FULL_PAUSE: Duration = Duration::from_secs(60);

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
    pub report: &'a mut Report,
    pub chronicle: Chronicle,
    pub mask: Arc<Mask>,
    /// A token that was handed in as a variable, for the first registration.
    pub token: Option<RegistrationToken>,
    pub garbage: Option<Garbage>,
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
    /// It ended without one: start it again, ever more slowly, not before `least`.
    Again {
        why: String,
        least: Duration,
    },
}

impl Supervisor<'_> {
    /// Supervise until told to end, or until something is broken.
    pub fn run(mut self) -> Ending {
        let mut pause = Duration::from_secs(1);
        let ending = loop {
            let began = Instant::now();
            match self.one_life() {
                Ok(Next::End(ending)) => break ending,
                Ok(Next::Job) => pause = Duration::from_secs(1),
                Ok(Next::Again { why, least }) => {
                    // A listener that lived long is no crash loop.
                    pause = if began.elapsed() > SLOWEST { Duration::from_secs(1) } else { pause };
                    let wait = pause.max(least);
                    let message = format!("{why}; next try in {} s", wait.as_secs());
                    self.report.enter(Phase::Starting, &message);
                    say(&message);
                    self.chronicle.note(chronicle::Event::Trouble { why });
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
        if !stop::is_drain() {
            self.chronicle.note(chronicle::Event::Stopped { why: message });
        }
        if matches!(ending, Ending::JobDone) {
            // Started again, the container finds nothing of the job's: no `run.sh` in the place of ours, say.
            let registration = Registration::new(self.environment, self.closure.runner());
            tidy(registration.vault());
        }
        if let Some(mut garbage) = self.garbage.take() {
            garbage.stop();
        }
        if let Some(mut describer) = self.describer.take() {
            describer.stop();
        }
        self.daemon.stop();
        ending
    }

    /// From a clean place to the listener's end.
    fn one_life(&mut self) -> Result<Next, String> {
        let environment = self.environment;
        let registration = Registration::new(environment, self.closure.runner());
        clean(registration.vault())?;
        // The next job tells of itself anew.
        let _ = std::fs::remove_file(contract::JOB);
        if let Some(why) = self.over_budget()? {
            return Ok(again(&why, FULL_PAUSE));
        }
        self.prove_caps()?;
        if registration.is_saved() {
            registration.discard_token();
            self.token = None;
        } else if !self.register(&registration)? {
            return Ok(Next::End(Ending::Asked));
        }
        registration.lay_out().map_err(|error| error.to_string())?;
        let mut life = Life::new();
        let oom_kills = oom_kills();
        // Which job it is, its first hook says, before any step.
        let desk = Desk::open(Path::new(contract::JOB_SOCKET), Path::new(contract::JOB));
        if let Err(why) = &desk {
            // A job is not the worse for it: only nobody knows whose its builds are.
            say(&format!("{}: {why}", contract::JOB_SOCKET));
        }
        let awaited = environment.uploads == Uploads::Awaited;
        let listener = Listener::start(
            self.closure.runner(),
            &environment.runner_root,
            &self.mask,
            awaited.then_some(contract::JOB_COMPLETED_HOOK),
        );
        let attended = match listener {
            Ok(listener) => self.attend(listener, &registration, &mut life),
            // No room for another process, say: that passes.
            Err(why) => Ok(Verdict::Again(format!("it cannot be started: {why}"))),
        };
        drop(desk);
        // Whatever broke meanwhile: the job is not lost from the account.
        self.chronicle_job(&life, oom_kills);
        let verdict = attended?;
        // A store that goes with its job needs no disk, unless its builds are pushed first.
        if life.had_job() && !(environment.ephemeral && environment.uploads == Uploads::Off) {
            // What it built is on the disk before anything rests on it.
            store::sync().map_err(|error| error.to_string())?;
        }
        if stop::ordered() {
            return Ok(Next::End(Ending::Asked));
        }
        self.judge(&life, verdict, &registration)
    }

    /// Why no job should come yet: it would only fill the disk further.
    fn over_budget(&mut self) -> Result<Option<String>, String> {
        let kept = Budget::of(self.environment.disk).and_then(Budget::keep);
        let kept = match kept {
            // Told to end in the middle of it.
            Err(_) if stop::ordered() => return Ok(None),
            kept => kept.map_err(|error| error.to_string())?,
        };
        self.chronicle.store_holds(kept.holds);
        if let Some(collected) = kept.collected {
            self.chronicle.note(collected.event());
        }
        Ok(kept.over)
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

    /// Follow a listener to its end. Whatever that is: no process of the runner's user is there afterwards.
    fn attend(
        &mut self,
        mut listener: Listener,
        registration: &Registration<'_>,
        life: &mut Life,
    ) -> Result<Verdict, String> {
        let verdict = loop {
            if let Some(order) = stop::order() {
                if !self.may_finish(order, life) {
                    listener.stop(PATIENCE);
                    break Verdict::Done;
                }
                let after = if stop::is_drain() { "no other follows" } else { "the container ends after it" };
                self.report.drain(after);
            } else {
                self.report.drain("");
            }
            if let Some(event) = listener.event(TICK) {
                let had_job = life.had_job();
                life.note(&event);
                if !had_job && life.had_job() {
                    // Once in a life, whatever the job writes into the log.
                    self.chronicle.note(chronicle::Event::JobStarted { job: life.name().to_owned() });
                }
                self.tell(&event, life);
            }
            // One that `register` laid beside a runner that needs none.
            registration.discard_token();
            if let Some(verdict) = listener.ended() {
                life.hear_out(&listener);
                break verdict;
            }
            if life.is_late() {
                say("the job is over, but its listener did not end: it is killed");
                break Verdict::Done;
            }
            if let Err(broken) = self.look_after() {
                // Broken is offline: a job would only fail here.
                listener.stop(Duration::from_secs(10));
                return Err(broken);
            }
        };
        end_all().map_err(|survivors| survivors.to_string())?;
        Ok(verdict)
    }

    /// Whether a listener may go on under an order to end: its job is not over, and the operator has patience.
    fn may_finish(&mut self, order: Order, life: &Life) -> bool {
        let patient = match order {
            Order::AfterTheJob => true,
            Order::WithPatience => {
                self.asked.get_or_insert_with(Instant::now).elapsed() < self.environment.patience
            }
            Order::AtOnce => false,
        };
        patient && life.is_at_work()
    }

    fn tell(&mut self, event: &Event, life: &Life) {
        match event {
            Event::Listening if !life.had_job() => {
                if !std::mem::replace(&mut self.listened, true) {
                    self.chronicle.note(chronicle::Event::Listening);
                }
                self.report.enter(Phase::Listening, "");
            }
            Event::Running(job) => self.report.enter(Phase::Busy, &format!("running {job}")),
            Event::Completed(what) => self.report.enter(Phase::Starting, what),
            Event::Listening | Event::RegistrationDeleted => {}
        }
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
                Duration::ZERO,
            ));
        }
        Ok(match verdict {
            Verdict::Done => again("the listener ended by itself", Duration::ZERO),
            Verdict::Failed => again("the listener: it ended on an error (1)", Duration::ZERO),
            Verdict::Again(why) => again(&format!("the listener: {why}"), Duration::ZERO),
            Verdict::SessionConflict => {
                again("another live process uses this registration (5)", CONFLICT_PAUSE)
            }
            Verdict::VersionRefused => again(
                "GitHub refuses this version of the runner (7): type `vega-builder up` on the host to get a newer image",
                SLOWEST,
            ),
        })
    }

    /// Sleep between two lives, but look after the rest; whether told to stop.
    fn rest(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while Instant::now() < until && !stop::rest(TICK.min(until - Instant::now())) {
            // What is broken shows when the next life begins.
            let _ = self.look_after();
        }
        stop::ordered()
    }

    fn look_after(&mut self) -> Result<(), String> {
        children::reap();
        self.daemon.keep().map_err(|error| error.to_string())?;
        if !self.closure.is_present() {
            self.report.damaged();
            return Err("the runner's program is gone from the store".to_owned());
        }
        if let Some(describer) = &mut self.describer {
            describer.keep();
        }
        let idle = self.report.phase() != Phase::Busy;
        if let Some(garbage) = &mut self.garbage {
            garbage.tend(idle, &self.chronicle);
        }
        Ok(())
    }
}

fn again(why: &str, least: Duration) -> Next {
    Next::Again { why: why.to_owned(), least }
}

/// No process of a job, and nothing that one wrote.
fn clean(vault: &Vault) -> Result<(), String> {
    let left = end_all().map_err(|survivors| survivors.to_string())?;
    if left > 0 {
        say(&format!("killed {left} processes that were left behind"));
    }
    tidy(vault);
    Ok(())
}
