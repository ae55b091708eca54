//! What the keeper of the slots is told, by signals and by `drain`.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};

use crate::{
    contract,
    installation::Installation,
    runner::{say, stop::is_in_force},
};

/// Whether jobs start, and what becomes of those that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Go,
    /// None starts, until `resume`, or while a command that holds a lease renews it.
    Drain {
        leased: bool,
    },
    /// None starts; those that run end by themselves, until then.
    End {
        until: Instant,
    },
    /// Those that run are cancelled.
    EndNow,
}

impl Order {
    pub fn takes_jobs(self) -> bool {
        self == Self::Go
    }

    pub fn is_end(self) -> bool {
        matches!(self, Self::End { .. } | Self::EndNow)
    }

    /// Whether a job that runs has had its time.
    pub fn is_over(self) -> bool {
        match self {
            Self::Go | Self::Drain { .. } => false,
            Self::End { until } => Instant::now() >= until,
            Self::EndNow => true,
        }
    }
}

/// How often it is looked whether somebody typed `drain` or `resume`.
const LOOK: Duration = Duration::from_millis(500);

/// Where the slots hear of them.
pub struct Orders {
    order: watch::Sender<Order>,
    /// Counts the times that the declaration is to be read again.
    reading: AtomicU32,
    /// Counts the times that what was refused is no longer.
    mended: AtomicU32,
}

/// What was known when somebody began to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    order: Order,
    reading: u32,
    mended: u32,
}

impl Orders {
    pub fn new() -> Self {
        Self { order: watch::Sender::new(Order::Go), reading: AtomicU32::new(0), mended: AtomicU32::new(0) }
    }

    pub fn now(&self) -> Order {
        *self.order.borrow()
    }

    pub fn reading(&self) -> u32 {
        self.reading.load(Ordering::Relaxed)
    }

    /// All of it, for who waits: what differs then may be what was wrong.
    pub fn known(&self) -> Known {
        let mended = self.mended.load(Ordering::Relaxed);
        Known { order: self.now(), reading: self.reading(), mended }
    }

    /// What slots gave up for is mended, or may be: they try again.
    pub fn mended(&self) {
        self.mended.fetch_add(1, Ordering::Relaxed);
    }

    /// Between two tries.
    pub async fn rest_between(&self, known: Known, wait: Duration) {
        self.rest(known.order, wait).await;
    }

    /// For so long, or until there is another order than the one that was `seen`: one that came meanwhile counts.
    pub async fn rest(&self, seen: Order, wait: Duration) {
        let mut order = self.order.subscribe();
        let _ = tokio::time::timeout(wait, order.wait_for(|now| *now != seen)).await;
    }

    /// Hear signals and drains, for ever.
    pub async fn listen(&self, installation: &Installation, patience: Duration) -> anyhow::Result<()> {
        let (mut told, mut interrupted, mut read_again) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        );
        loop {
            tokio::select! {
                _ = told.recv() => self.end(patience),
                _ = interrupted.recv() => self.give(Order::EndNow),
                _ = read_again.recv() => {
                    say("told to read the declaration again: what has no job yet is made anew");
                    self.reading.fetch_add(1, Ordering::Relaxed);
                }
                () = sleep(LOOK) => {
                    // For good, or for as long as an update renews it.
                    let leased = is_in_force(&installation.handover.join(contract::HANDOVER_DRAIN));
                    let order = match installation.drained()? {
                        Some(_) => Order::Drain { leased: false },
                        None if leased => Order::Drain { leased },
                        None => Order::Go,
                    };
                    if !self.now().is_end() {
                        self.give(order);
                    }
                }
            }
        }
    }

    fn end(&self, patience: Duration) {
        if self.now().is_end() {
            return self.give(Order::EndNow);
        }
        say("told to end: no new job starts, and those that run are waited for");
        self.give(Order::End { until: Instant::now() + patience });
    }

    fn give(&self, new: Order) {
        self.order.send_if_modified(|order| std::mem::replace(order, new) != new);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Order, Orders};

    #[tokio::test]
    async fn an_order_that_came_before_the_rest_ends_it() {
        let orders = Orders::new();
        let seen = orders.now();
        orders.give(Order::EndNow);
        let began = Instant::now();
        orders.rest(seen, Duration::from_secs(60)).await;
        assert!(began.elapsed() < Duration::from_secs(30));
        orders.rest(Order::EndNow, Duration::from_millis(10)).await;
    }

    #[test]
    fn whoever_waits_for_another_try_learns_that_what_was_refused_is_mended() {
        let orders = Orders::new();
        let known = orders.known();
        assert_eq!(orders.known(), known);
        orders.mended();
        assert_ne!(orders.known(), known);
    }
}
