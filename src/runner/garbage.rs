//! Collections of garbage beside the runner: by the calendar when it is idle, and at any time when the disk runs short.
//! Each holds the store's own lock, and leaves what a root or a running build needs.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{Environment, children, children::Child, environment::Collection, say, user};
use crate::{chronicle::Chronicle, store::Collected, value::ByteSize};

/// Between two for want of room: what a job builds meanwhile it mostly still needs.
const PAUSE: Duration = Duration::from_secs(60);
/// After one that found all that there was.
const FUTILE: Duration = Duration::from_secs(600);

/// The garbage collection of a runner that stays. It outlives every listener: its time does not begin anew
/// with each.
pub struct Garbage {
    /// A host's store is the host's to collect: nobody misses anything of it because of a runner.
    is_ours: bool,
    calendar: Option<Calendar>,
    running: Option<Running>,
    /// When the last one ended, and whether another would find anything.
    ended: Option<(Instant, bool)>,
}

struct Calendar {
    older_than: String,
    interval: Duration,
    due: Instant,
}

/// A collection that goes on beside the listener.
struct Running {
    child: Child,
    began: Instant,
    /// How much it was to free; without a figure, all that there is.
    wanted: Option<u64>,
}

impl Garbage {
    pub fn new(environment: &Environment) -> Self {
        let is_ours = environment.quarters.on_host.is_none();
        let calendar = environment.collection.as_ref().filter(|_| is_ours).map(
            |Collection { delete_older_than, interval, initial_delay }| Calendar {
                older_than: delete_older_than.clone(),
                interval: *interval,
                due: Instant::now() + *initial_delay,
            },
        );
        Self { is_ours, calendar, running: None, ended: None }
    }

    /// See how a running one is, and start one that is due when no job runs.
    pub fn tend(&mut self, idle: bool, chronicle: &Chronicle) {
        self.hear(chronicle);
        if self.running.is_some() || !idle {
            return;
        }
        let Some(calendar) = self.calendar.as_mut().filter(|calendar| Instant::now() >= calendar.due) else {
            return;
        };
        calendar.due = Instant::now() + calendar.interval;
        let arguments = ["--delete-older-than".to_owned(), calendar.older_than.clone()];
        self.start("nix-collect-garbage", &arguments, None);
    }

    /// Have so many bytes freed, or without a figure all that can be, whether a job runs or not, because of `why`; whether a
    /// collection goes on now. None begins that would find nothing.
    pub fn press(&mut self, wanted: Option<u64>, why: &str) -> bool {
        let is_of_use =
            self.ended.is_none_or(|(ended, is_more)| ended.elapsed() > if is_more { PAUSE } else { FUTILE });
        if self.is_ours && self.running.is_none() && is_of_use {
            say(&format!("{why}: collecting garbage"));
            let mut arguments = vec!["--gc".to_owned()];
            // Nix reads a signed number.
            let most = wanted.map(|bytes| bytes.min(i64::MAX.unsigned_abs()));
            arguments.extend(most.iter().flat_map(|bytes| ["--max-freed".to_owned(), bytes.to_string()]));
            self.start("nix-store", &arguments, wanted);
        }
        self.running.is_some()
    }

    /// A job has begun, or what it held is gone: there may be garbage again.
    pub fn expect_more(&mut self) {
        self.ended = None;
    }

    fn start(&mut self, program: &str, arguments: &[String], wanted: Option<u64>) {
        // Not a line for every path; what goes wrong it says all the same.
        let mut command = user::as_root(program);
        command.args(arguments).arg("--quiet").stdin(Stdio::null()).stdout(Stdio::piped());
        match children::spawn(&mut command) {
            Ok(child) => self.running = Some(Running { child, began: Instant::now(), wanted }),
            Err(why) => {
                say(&format!("garbage cannot be collected: {why}"));
                self.ended = Some((Instant::now(), true));
            }
        }
    }

    fn hear(&mut self, chronicle: &Chronicle) {
        let Some(Running { child, began, wanted }) = &mut self.running else { return };
        let Some(status) = child.ended() else { return };
        let freed = freed(&child.said());
        let collected = Collected { freed: freed.unwrap_or_default(), took: began.elapsed() };
        say(&format!("garbage collection ended ({status}): {collected}"));
        chronicle.note(collected.event());
        // One that ended early for having freed enough has left some.
        let is_more = !status.success()
            || freed.is_none_or(|freed| wanted.is_some_and(|wanted| freed >= wanted / 100 * 99));
        self.ended = Some((Instant::now(), is_more));
        self.running = None;
    }

    /// End a running one: what it has not deleted yet it deletes the next time.
    pub fn stop(&mut self) {
        if let Some(Running { mut child, .. }) = self.running.take() {
            child.terminate(Signal::SIGTERM, Duration::from_secs(2));
        }
    }
}

/// What Nix says at the end, `12 store paths deleted, 80.05 MiB freed`.
fn freed(said: &str) -> Option<u64> {
    let figure = said.lines().rev().find_map(|line| line.trim().strip_suffix(" freed")?.rsplit_once(", "))?.1;
    figure.replace(' ', "").parse::<ByteSize>().ok().map(|size| size.0)
}

#[cfg(test)]
mod tests {
    use super::freed;

    #[test]
    fn what_nix_says_that_it_freed_is_understood() {
        assert_eq!(freed("12 store paths deleted, 80.50 MiB freed\n"), Some(84_410_368));
        assert_eq!(freed("note: x\n0 store paths deleted, 0.00 MiB freed"), Some(0));
        assert_eq!(freed("3 store paths deleted, 1.5 GiB freed"), Some(3 << 29));
        assert_eq!(freed("nothing"), None);
    }
}
