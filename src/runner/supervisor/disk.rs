//! The disk: a budget for the store, and what stays free. Garbage goes first; while that does not help, no job is taken;
//! and a job that takes the last of it is ended, for the host's sake.

use std::{
    path::Path,
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    super::{Quarters, stop},
    Supervisor, TICK,
};
use crate::{
    contract,
    store::{self, Budget, Reserve, Shortage},
    value::ByteSize,
};

const SOON: Duration = Duration::from_millis(20);
const LOOK: Duration = Duration::from_secs(1);
/// For so long an acute shortage may last while garbage is collected, and while not.
const COLLECTING: Duration = Duration::from_secs(10);
const ACUTE: Duration = Duration::from_secs(2);
/// Between two counts of what the store holds while a listener lives.
const COUNT: Duration = Duration::from_secs(10);
/// So many times as long as one takes, at least.
const SELDOM: u32 = 20;

/// What was seen of it.
#[derive(Debug, Default)]
pub struct Disk {
    looked: Option<Instant>,
    acute: Option<Instant>,
    counted: Option<Counted>,
    /// A count that is under way.
    counting: Option<Receiver<Result<u64, store::Error>>>,
}

/// When the store was counted, how long that took, and as of which change.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: Instant,
    took: Duration,
    changed: Option<SystemTime>,
}

/// What the disk allows.
#[derive(Debug, PartialEq, Eq)]
pub enum Squeeze {
    None,
    /// No job is to begin.
    NoJob(String),
    /// The one that runs is to end.
    EndJob(String),
}

impl Supervisor<'_> {
    /// Before a listener starts: why no job should come yet, when garbage is collected and it does not help.
    pub(super) fn make_room(&mut self) -> Result<Option<String>, String> {
        if let Some(shortage) = self.shortage() {
            if !self.collect(shortage.wanted, &shortage.said) {
                return Ok(None);
            }
            if let Some(left) = self.shortage() {
                return Ok(Some(refusal(&left)));
            }
        }
        if self.environment.quarters.on_host.is_some() {
            // What else is in its store is not ours to count.
            return Ok(None);
        }
        let budget = Budget::of(self.environment.disk).map_err(|error| error.to_string())?;
        let Some(held) = self.count()? else { return Ok(None) };
        let Some(wanted) = budget.excess(held) else { return Ok(None) };
        let why = format!("the store holds {}, and may hold {budget}", ByteSize(held));
        if !self.collect(Some(wanted), &why) {
            return Ok(None);
        }
        let Some(held) = self.count()? else { return Ok(None) };
        Ok(budget.excess(held).map(|_| budget.refusal(held)))
    }

    /// Beside a listener, and the job that it may have.
    pub(super) fn squeeze(&mut self, is_at_work: bool) -> Squeeze {
        if self.disk.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Squeeze::None;
        }
        self.disk.looked = Some(Instant::now());
        let Some(shortage) = self.shortage() else {
            self.disk.acute = None;
            if self.environment.quarters.on_host.is_none() {
                self.keep_to_budget();
            }
            return Squeeze::None;
        };
        let is_collecting = self.garbage.press(shortage.wanted, &shortage.said);
        if !is_at_work {
            // What still comes while it is collected finds some room, unless there is next to none.
            let is_over = shortage.is_acute || !is_collecting;
            return if is_over { Squeeze::NoJob(refusal(&shortage)) } else { Squeeze::None };
        }
        if !shortage.is_acute {
            self.disk.acute = None;
            return Squeeze::None;
        }
        let since = self.disk.acute.get_or_insert_with(Instant::now);
        let patience = if is_collecting { COLLECTING } else { ACUTE };
        if since.elapsed() < patience { Squeeze::None } else { Squeeze::EndJob(shortage.said) }
    }

    /// A job may fill the store beyond its budget while it runs: what is garbage already goes. What is in the store is counted
    /// when that has changed, and not so often that it would matter.
    fn keep_to_budget(&mut self) {
        if self.disk.counting.is_none() {
            let is_worth_it = self.disk.counted.is_some_and(|counted| {
                counted.at.elapsed() > COUNT.max(counted.took * SELDOM) && counted.changed != store::changed()
            });
            if is_worth_it {
                self.begin_count();
            }
            return;
        }
        let Ok(budget) = Budget::of(self.environment.disk) else { return };
        if let Some(Ok(held)) = self.counted()
            && let Some(wanted) = budget.excess(held)
        {
            let why = format!("the store holds {}, and may hold {budget}", ByteSize(held));
            self.garbage.press(Some(wanted), &why);
        }
    }

    /// What the store holds; nothing when told to stop.
    fn count(&mut self) -> Result<Option<u64>, String> {
        // One that began beside a job knows nothing of the job's last builds.
        self.begin_count();
        loop {
            match self.counted() {
                Some(held) => return held.map(Some).map_err(|error| error.to_string()),
                None if stop::rest(SOON) => return Ok(None),
                None => {}
            }
        }
    }

    /// In a thread of its own: a large store takes a while.
    fn begin_count(&mut self) {
        let (told, counting) = channel();
        thread::spawn(move || told.send(store::held()));
        self.disk.counting = Some(counting);
        self.disk.counted =
            Some(Counted { at: Instant::now(), took: Duration::ZERO, changed: store::changed() });
    }

    /// What has been counted, when it has.
    fn counted(&mut self) -> Option<Result<u64, store::Error>> {
        let result = match self.disk.counting.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(store::Error::NotCounted),
            Ok(result) => result,
        };
        self.disk.counting = None;
        if let Some(counted) = &mut self.disk.counted {
            counted.took = counted.at.elapsed();
        }
        if let Ok(held) = &result {
            self.chronicle.store_holds(*held);
        }
        Some(result)
    }

    fn shortage(&self) -> Option<Shortage> {
        let Quarters { home, root, .. } = &self.environment.quarters;
        Reserve::of(self.environment.min_free).shortage(&[Path::new(contract::STORE_MOUNT), home, root])
    }

    /// Wait for a collection of garbage, if one is of use; whether nobody told us to stop meanwhile.
    fn collect(&mut self, wanted: Option<u64>, why: &str) -> bool {
        while self.garbage.press(wanted, why) {
            if stop::rest(TICK) {
                return false;
            }
            self.garbage.tend(false, &self.chronicle);
        }
        true
    }
}

fn refusal(shortage: &Shortage) -> String {
    format!("{}: no job is taken; make room on the host, or lower `--min-free`", shortage.said)
}
