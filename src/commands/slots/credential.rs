//! The credential between two registrations: that it was revoked is told within a minute, and not when a job waits for it.

use std::time::Duration;

use tokio::time::sleep;

use super::keeper::Keeper;
use crate::{chronicle::Event, github, runner::say};

/// Between two questions: a hundred an hour, of the thousands that GitHub answers.
const ASK: Duration = Duration::from_secs(40);
/// One question that was not answered is no news.
const UNANSWERED: u32 = 2;

/// Ask, for ever.
pub async fn watch(keeper: &Keeper) {
    let mut trouble = Trouble::default();
    loop {
        sleep(ASK).await;
        match keeper.registering.ask().await {
            Ok(()) => {
                if trouble.ends() {
                    say("GitHub takes the credential again: jobs go on");
                    keeper.board.trouble("");
                    keeper.orders.mended();
                }
            }
            Err(why) => {
                let passes = why.chain().filter_map(|cause| cause.downcast_ref()).any(github::Error::passes);
                if trouble.is_news(passes) {
                    let why =
                        format!("{why:#}; until then no job is taken after those that are listened for");
                    say(&why);
                    keeper.board.trouble(&why);
                    keeper.note(Event::Trouble { why });
                }
            }
        }
    }
}

/// What was told of it.
#[derive(Default)]
struct Trouble {
    failures: u32,
    is_told: bool,
}

impl Trouble {
    /// Whether a failure is to be told: once, and what may pass by itself not at once.
    fn is_news(&mut self, passes: bool) -> bool {
        self.failures += 1;
        let is_certain = !passes || self.failures >= UNANSWERED;
        is_certain && !std::mem::replace(&mut self.is_told, true)
    }

    /// Whether there was one that was told.
    fn ends(&mut self) -> bool {
        std::mem::take(self).is_told
    }
}

#[cfg(test)]
mod tests {
    use super::Trouble;

    #[test]
    fn a_refusal_is_told_at_once_and_once_and_silence_when_it_lasts() {
        let mut trouble = Trouble::default();
        assert!(trouble.is_news(false) && !trouble.is_news(false));
        assert!(trouble.ends() && !trouble.ends());
        assert!(!trouble.is_news(true) && trouble.is_news(true) && !trouble.is_news(true));
        assert!(trouble.ends());
        assert!(!trouble.is_news(true) && !trouble.ends() && !trouble.is_news(true));
    }
}
