//! One life of GitHub's listener: it takes one job at most, and what is known of it until its end.

use std::time::{Duration, Instant};

use super::{
    Event, Ids, Listener,
    leftovers::{Worker, worker},
};
use crate::chronicle::JobResult;

/// How long a listener may take to end after its job's worker has.
const LATE: Duration = Duration::from_secs(15);
/// GitHub ends a job on a runner of one's own after five days: a life that has lasted longer with one is
/// held open by the job.
const LONGEST_JOB: Duration = Duration::from_secs((5 * 24 + 1) * 3600);
/// The listener's end follows at once on its last words.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What a life's events and processes told.
#[derive(Debug)]
pub struct Life {
    /// Whose processes are looked at.
    ids: Ids,
    job: Option<Instant>,
    /// What it is called, as the listener first said.
    name: String,
    /// The listener's line of how it ended.
    result: String,
    /// Since when its job's worker is gone.
    done: Option<Instant>,
    /// Its job's worker was there.
    seen: bool,
    deleted: Option<Instant>,
}

impl Life {
    pub fn new(ids: Ids) -> Self {
        Self {
            ids,
            job: None,
            name: String::new(),
            result: String::new(),
            done: None,
            seen: false,
            deleted: None,
        }
    }

    /// Take an event into account. From the first sign of a job on, whatever the log says may be the job's.
    pub fn note(&mut self, event: &Event) {
        let now = Instant::now();
        match event {
            Event::Running(name) => {
                if self.job.is_none() {
                    name.clone_into(&mut self.name);
                }
                self.job.get_or_insert(now);
                self.deleted = None;
            }
            Event::Completed(line) => {
                // The last one is the listener's own: it ends after it.
                line.clone_into(&mut self.result);
                self.job.get_or_insert(now);
                self.done.get_or_insert(now);
                self.deleted = None;
            }
            Event::Listening => self.deleted = None,
            Event::Away | Event::Back => {}
            Event::RegistrationDeleted => self.deleted = Some(now),
        }
    }

    /// Whether a job runs, or has run, in this life.
    pub fn had_job(&self) -> bool {
        self.job.is_some()
    }

    /// What its job is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its job ended; nothing where there was none.
    pub fn job(&self) -> Option<(&str, JobResult, Duration)> {
        let began = self.job?;
        let ended = self.done.unwrap_or_else(Instant::now);
        Some((&self.name, JobResult::of_line(&self.result), ended.duration_since(began)))
    }

    /// Whether a job runs now, or its worker does before the log tells of it.
    pub fn is_at_work(&self) -> bool {
        self.done.is_none() && (self.job.is_some() || worker(self.ids) == Worker::Lives)
    }

    /// Whether GitHub no longer knows the registration: the listener said so as its last words, and no job
    /// was there that could have said it in its place.
    pub fn forgotten(&self) -> bool {
        !self.had_job() && self.deleted.is_some_and(|said| said.elapsed() < LAST_WORDS)
    }

    /// Whether this life must be ended from outside: its job is over and the listener lives on.
    pub fn is_late(&mut self) -> bool {
        let Some(began) = self.job else { return false };
        if self.done.is_none() {
            self.look(worker(self.ids));
        }
        self.done.is_some_and(|done| done.elapsed() > LATE) || began.elapsed() > LONGEST_JOB
    }

    /// A worker that is not there yet is none that has ended: the listener first agrees with GitHub on the
    /// job, again and again if need be.
    fn look(&mut self, worker: Worker) {
        self.seen |= worker != Worker::Absent;
        if self.seen && worker != Worker::Lives {
            self.done = Some(Instant::now());
        }
    }

    /// Wait out what a listener has still to say when it has ended.
    pub fn hear_out(&mut self, listener: &Listener) {
        while let Some(event) = listener.event(Duration::from_millis(50)) {
            self.note(&event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Ids, Life, Worker};

    #[test]
    fn a_job_cannot_say_that_the_registration_is_gone() {
        let mut life = Life::new(Ids::IMAGE);
        life.note(&Event::RegistrationDeleted);
        assert!(life.forgotten());
        life.note(&Event::Running("job".to_owned()));
        life.note(&Event::RegistrationDeleted);
        assert!(!life.forgotten() && life.had_job());
    }

    #[test]
    fn a_listener_that_goes_on_listening_has_not_said_its_last_words() {
        let mut life = Life::new(Ids::IMAGE);
        life.note(&Event::RegistrationDeleted);
        life.note(&Event::Listening);
        assert!(!life.forgotten() && !life.is_late());
    }

    #[test]
    fn a_worker_that_starts_late_is_waited_for_and_one_that_ended_is_not() {
        let mut life = Life::new(Ids::IMAGE);
        life.note(&Event::Running("job".to_owned()));
        life.look(Worker::Absent);
        life.look(Worker::Lives);
        assert!(life.done.is_none());
        life.look(Worker::Absent);
        assert!(life.done.is_some());
        // So short that it was only ever seen dead.
        let mut life = Life::new(Ids::IMAGE);
        life.look(Worker::Ended);
        assert!(life.done.is_some());
    }
}
