//! The disk: a budget for the store, and what stays free. Garbage goes first; while that does not help, no job is taken;
//! and a job that takes the last of it is ended, for the host's sake.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{
    super::{say, stop},
    Supervisor, TICK,
};
use crate::{
    contract,
    store::{self, Budget, Reserve, Shortage},
};

const LOOK: Duration = Duration::from_secs(1);
/// For so long an acute shortage may last while garbage is collected, and while not.
const COLLECTING: Duration = Duration::from_secs(20);
const ACUTE: Duration = Duration::from_secs(2);

/// What was seen of it.
#[derive(Debug, Default)]
pub struct Disk {
    looked: Option<Instant>,
    acute: Option<Instant>,
    /// What the store held when it was last counted, and how much of its file system was free then.
    counted: Option<(u64, u64)>,
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
        let budget = Budget::of(self.environment.disk).map_err(|error| error.to_string())?;
        let mut held = self.count()?;
        if let Some(wanted) = budget.excess(held) {
            say(&format!(
                "the store holds {}, and may hold {budget}: collecting garbage",
                crate::value::ByteSize(held)
            ));
            if !self.collect(Some(wanted)) {
                return Ok(None);
            }
            held = self.count()?;
            if budget.excess(held).is_some() {
                return Ok(Some(budget.refusal(held)));
            }
        }
        if let Some(shortage) = self.shortage() {
            say(&format!("{}: collecting garbage", shortage.said));
            if !self.collect(shortage.wanted) {
                return Ok(None);
            }
        }
        Ok(self.shortage().map(|left| refusal(&left)))
    }

    /// Beside a listener, and the job that it may have.
    pub(super) fn squeeze(&mut self, is_at_work: bool) -> Squeeze {
        if self.disk.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Squeeze::None;
        }
        self.disk.looked = Some(Instant::now());
        let Some(shortage) = self.shortage() else {
            self.disk.acute = None;
            self.keep_to_budget();
            return Squeeze::None;
        };
        let is_collecting = self.garbage.press(shortage.wanted);
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

    /// A job may fill the store beyond its budget while it runs: what is garbage already goes. To count what is in the store
    /// takes a moment, so that is done only when the disk has lost as much as the budget had left.
    fn keep_to_budget(&mut self) {
        let Some((held, free)) = self.disk.counted else { return };
        let Ok(budget) = Budget::of(self.environment.disk) else { return };
        let lost = free.saturating_sub(store::free());
        if budget.excess(held.saturating_add(lost)).is_none() {
            return;
        }
        if let Some(wanted) = self.count().ok().and_then(|held| budget.excess(held)) {
            self.garbage.press(Some(wanted));
        }
    }

    fn count(&mut self) -> Result<u64, String> {
        let held = match store::held() {
            // Told to end in the middle of it.
            Err(_) if stop::ordered() => 0,
            held => held.map_err(|error| error.to_string())?,
        };
        self.disk.counted = Some((held, store::free()));
        self.chronicle.store_holds(held);
        Ok(held)
    }

    fn shortage(&self) -> Option<Shortage> {
        let places = [contract::STORE_MOUNT, contract::HOME].map(Path::new);
        let work = self.environment.runner_root.as_path();
        Reserve::of(self.environment.min_free).shortage(&[places[0], places[1], work])
    }

    /// Wait for a collection of garbage, if one is of use; whether nobody told us to stop meanwhile.
    fn collect(&mut self, wanted: Option<u64>) -> bool {
        while self.garbage.press(wanted) {
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
