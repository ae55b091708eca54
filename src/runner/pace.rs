//! After a failure: how soon the next try comes, and when none does any more.

use std::time::{Duration, Instant};

/// What a failure says of the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// It may well go better, ever more slowly; not before the given time, and not for ever.
    Growing(Duration),
    /// It is out of our hands and passes by itself: ever more slowly, for as long as it takes.
    Patient(Duration),
    /// The same, looked at again and again at the same pace.
    Steady(Duration),
}

const FIRST: Duration = Duration::from_secs(1);
pub const SLOWEST: Duration = Duration::from_secs(300);
/// So many failures in a row, over an hour or so, are none that pass.
const MOST: u32 = 20;

#[derive(Debug)]
pub struct Pace {
    pause: Duration,
    failures: u32,
    /// What was told last.
    told: String,
}

/// What follows on a failure.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Wait(Duration),
    GiveUp,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pause: FIRST, failures: 0, told: String::new() }
    }
}

impl Pace {
    /// A life that had a job, or lasted, is no failure.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// After a life that began then.
    pub fn after(&mut self, began: Instant, pause: Pause) -> Next {
        if began.elapsed() > SLOWEST {
            self.reset();
        }
        let wait = match pause {
            Pause::Steady(pause) => return Next::Wait(pause),
            Pause::Patient(least) => self.pause.max(least),
            Pause::Growing(least) => {
                self.failures += 1;
                if self.failures > MOST {
                    return Next::GiveUp;
                }
                self.pause.max(least)
            }
        };
        self.pause = (self.pause * 2).min(SLOWEST);
        Next::Wait(wait)
    }

    /// Whether this is news. Figures alone make none.
    pub fn is_news(&mut self, why: &str) -> bool {
        let gist: String = why.chars().filter(|one| !one.is_ascii_digit() && *one != '.').collect();
        let is_news = gist != self.told;
        self.told = gist;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{MOST, Next, Pace, Pause, SLOWEST};

    #[test]
    fn a_crash_loop_slows_down_to_a_ceiling_and_ends() {
        let (mut pace, mut total) = (Pace::default(), Duration::ZERO);
        for _ in 0..MOST {
            let Next::Wait(wait) = pace.after(Instant::now(), Pause::Growing(Duration::ZERO)) else {
                panic!("too early")
            };
            assert!(wait <= SLOWEST);
            total += wait;
        }
        assert!(total > Duration::from_secs(3600) && total < Duration::from_secs(7200), "{total:?}");
        assert_eq!(pace.after(Instant::now(), Pause::Growing(Duration::ZERO)), Next::GiveUp);
        pace.reset();
        let pause = Pause::Growing(Duration::from_secs(30));
        assert_eq!(pace.after(Instant::now(), pause), Next::Wait(Duration::from_secs(30)));
    }

    #[test]
    fn what_passes_by_itself_is_waited_for_without_end() {
        let mut pace = Pace::default();
        for _ in 0..1000 {
            assert_ne!(pace.after(Instant::now(), Pause::Patient(Duration::ZERO)), Next::GiveUp);
            let steady = Duration::from_secs(60);
            assert_eq!(pace.after(Instant::now(), Pause::Steady(steady)), Next::Wait(steady));
        }
    }

    #[test]
    fn the_same_trouble_is_told_once_whatever_its_figures() {
        let mut pace = Pace::default();
        assert!(pace.is_news("the disk has 1.9 GiB free"));
        assert!(!pace.is_news("the disk has 1.75 GiB free"));
        assert!(pace.is_news("the clock is off"));
        assert!(pace.is_news("the disk has 1.9 GiB free"));
    }
}
