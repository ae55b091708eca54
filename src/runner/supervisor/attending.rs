//! Beside a listener: its log, its job, orders, and everything that can break meanwhile.

use std::time::{Duration, Instant};

use super::{
    super::{
        Event, Listener, Registration, Verdict, children, end_all,
        life::Life,
        pace::Pause,
        pulse::{Beat, Pulse},
        say, stop,
        stop::Order,
    },
    Supervisor, TICK,
    disk::Squeeze,
};
use crate::{chronicle, contract::Phase, store::Watch};

/// How long a job that is cancelled gets to end; the engine kills ten seconds after that.
const PATIENCE: Duration = Duration::from_secs(50);
/// The same for one that does harm: GitHub's runner kills what does not heed it after ten.
const CANCELLED: Duration = Duration::from_secs(15);
/// The same for a listener without one: it says goodbye.
const GOODBYE: Duration = Duration::from_secs(10);
/// Between two looks at whether a listener lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Between two looks at what only the world outside can change.
pub(super) const STEADY: Pause = Pause::Steady(Duration::from_secs(60));

const AWAY: &str = "GitHub does not answer: the runner asks again by itself";

impl Supervisor<'_> {
    /// Follow a listener to its end. Whatever that is: no process of the runner's user is there afterwards.
    pub(super) fn attend(
        &mut self,
        mut listener: Listener,
        registration: &Registration<'_>,
        life: &mut Life,
    ) -> Result<Verdict, String> {
        let (mut pulse, mut felt) = (Pulse::of(listener.pid()), Instant::now());
        let mut told = false;
        let verdict = loop {
            if let Some(order) = stop::order() {
                if !self.may_finish(order, life) {
                    listener.stop(PATIENCE);
                    break Verdict::Done;
                }
                let after = if stop::is_drain() { "no other follows" } else { "it ends after that" };
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
                    self.garbage.expect_more();
                }
                let is_news = match event {
                    Event::Away => pulse.hear(true),
                    Event::Back => pulse.hear(false),
                    _ => true,
                };
                if is_news {
                    self.tell(&event, life);
                }
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
                listener.stop(GOODBYE);
                return Err(broken);
            }
            match self.squeeze(life.is_at_work()) {
                Squeeze::None => {}
                Squeeze::NoJob(why) => {
                    listener.stop(GOODBYE);
                    break Verdict::Unwanted(STEADY, why);
                }
                Squeeze::EndJob(why) => {
                    let why = format!("{why}: the job that took the last of it is ended");
                    say(&why);
                    listener.stop(CANCELLED);
                    self.chronicle.note(chronicle::Event::Trouble { why });
                    break Verdict::Done;
                }
            }
            if let Some(why) = self.clock.wrong().filter(|_| !life.is_at_work()) {
                let why = wrong_clock(&why);
                listener.stop(GOODBYE);
                break Verdict::Unwanted(STEADY, why);
            }
            if felt.elapsed() > HEARTBEAT {
                felt = Instant::now();
                if let Some(verdict) = self.feel(&mut pulse, &mut listener, life, &mut told) {
                    break verdict;
                }
            }
        };
        end_all(self.environment.quarters.ids).map_err(|survivors| survivors.to_string())?;
        Ok(verdict)
    }

    /// Whether the listener lives; what follows when it does not.
    fn feel(
        &mut self,
        pulse: &mut Pulse,
        listener: &mut Listener,
        life: &Life,
        told: &mut bool,
    ) -> Option<Verdict> {
        match pulse.look() {
            Beat::Alive => None,
            Beat::Stopped => {
                // Nobody out here does that; a job that did loses no time by it.
                if !std::mem::replace(told, true) {
                    let why = "the listener was stopped by a signal: it goes on".to_owned();
                    say(&why);
                    self.chronicle.note(chronicle::Event::Trouble { why });
                }
                listener.resume();
                None
            }
            // Its job's worker may have much to do, and its end is seen.
            Beat::Still if life.is_at_work() => None,
            Beat::Still => Some(Verdict::Again("it hung, without a sign of life: it was killed".to_owned())),
        }
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
            Event::Listening if !life.had_job() => self.listens(),
            // While it has a job, its job is what is told.
            Event::Away if !life.had_job() => {
                self.report.enter(self.report.phase(), AWAY);
                self.chronicle.note(chronicle::Event::Trouble { why: AWAY.to_owned() });
                self.listened = false;
            }
            Event::Back if !life.had_job() && self.report.phase() == Phase::Listening => self.listens(),
            Event::Running(job) => self.report.enter(Phase::Busy, &format!("running {job}")),
            Event::Completed(what) => self.report.enter(Phase::Starting, what),
            Event::Listening | Event::Away | Event::Back | Event::RegistrationDeleted => {}
        }
    }

    fn listens(&mut self) {
        if !std::mem::replace(&mut self.listened, true) {
            self.chronicle.note(chronicle::Event::Listening);
        }
        self.report.enter(Phase::Listening, "");
    }

    /// What runs beside the listener, whether there is one or not.
    pub(super) fn look_after(&mut self) -> Result<(), String> {
        children::reap();
        self.daemon.keep().map_err(|error| error.to_string())?;
        if !self.program.is_present() {
            self.report.damaged();
            return Err(format!("GitHub's runner is gone from {}", self.program.folder().display()));
        }
        if let Some(damage) = self.watch.as_ref().and_then(Watch::damage) {
            self.report.damaged();
            return Err(damage);
        }
        if let Some(describer) = &mut self.describer {
            describer.keep();
        }
        let idle = self.report.phase() != Phase::Busy;
        self.garbage.tend(idle, &self.chronicle);
        Ok(())
    }
}

pub(super) fn wrong_clock(why: &str) -> String {
    format!("{why}, which takes no token of another time: set it on the host (`timedatectl set-ntp true`)")
}
