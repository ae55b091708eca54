//! The wait until GitHub lists the runner as online, or its container says why it cannot be.

use std::time::Duration;

use anyhow::Context as _;

use super::Up;
use crate::{
    commands::steps::token::Token,
    contract::{Phase, State},
    engine::{Container, Inspected, Layout, Status},
    exit::NotOnline,
    github::{GitHub, Runner},
    installation::Record,
};

/// The runner's own word in the log of an image that has no other way to tell.
const LISTENS: &str = "Listening for Jobs";

/// What a look at the container tells.
enum Seen {
    Listening,
    /// It waits for a token, and none lies there for it.
    NeedsToken,
    /// It will not come up by itself.
    Refused,
    Coming,
}

impl Up<'_> {
    pub(super) async fn online(
        &self,
        github: &GitHub,
        container: &Container,
        record: &mut Record,
        mut minted: bool,
        wait: Duration,
    ) -> anyhow::Result<Runner> {
        let step = self.progress.step("online", "waiting for the runner to listen");
        let deadline = tokio::time::Instant::now() + wait;
        let mut pause = Duration::from_millis(200);
        let mut trouble = String::new();
        loop {
            let running = self.engine.inspect(container.name.as_str())?;
            let state = self.installation.runner_state();
            let message = state.as_ref().map(|state| state.message.clone()).unwrap_or_default();
            match self.look(container, running.as_ref(), state.as_ref()) {
                Seen::Listening => {
                    self.is_registered(container, record)?;
                    // One bad answer is no reason to give up on a runner that listens.
                    match github.runner(&container.name).await {
                        Ok(Some(runner))
                            if runner.is_online() && runner.has_labels(&self.settings.labels) =>
                        {
                            step.done(&format!(
                                "{} is runner {} at {}",
                                runner.name, runner.id, self.settings.scope
                            ));
                            return Ok(runner);
                        }
                        Ok(_) => trouble.clear(),
                        Err(error) => trouble = error.to_string(),
                    }
                }
                Seen::NeedsToken if !minted => {
                    step.doing("GitHub no longer knows the saved registration: minting a token");
                    let token = Token::mint(github, self.installation, container.layout).await?;
                    self.hand_in(Some(token), container, record)?;
                    minted = true;
                }
                Seen::NeedsToken | Seen::Refused => anyhow::bail!(self.not_online(container, &message)),
                Seen::Coming => {}
            }
            if running.is_none_or(|now| now.status == Status::Stopped) {
                let why = if message.is_empty() { "its container ended" } else { &message };
                anyhow::bail!(self.not_online(container, why));
            }
            if !message.is_empty() {
                step.doing(&message);
            }
            if tokio::time::Instant::now() >= deadline {
                let why = format!("GitHub does not list it as online after {} s", wait.as_secs());
                let said = [why, message, trouble].into_iter().filter(|text| !text.is_empty());
                anyhow::bail!(self.not_online(container, &said.collect::<Vec<_>>().join("; ")));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(2));
        }
    }

    fn look(&self, container: &Container, running: Option<&Inspected>, state: Option<&State>) -> Seen {
        if container.layout == Layout::Foreign {
            // Its old session may be on GitHub's list for a while: the log since its start tells.
            let since = running.map(|running| running.started_at.as_str()).unwrap_or_default();
            let listens = self.engine.log_since(&container.name, since).contains(LISTENS);
            return if listens { Seen::Listening } else { Seen::Coming };
        }
        match state.map(|state| state.phase) {
            Some(Phase::Listening | Phase::Busy) => Seen::Listening,
            Some(Phase::WaitingForToken) if !self.installation.has_token() => Seen::NeedsToken,
            Some(Phase::Stopping | Phase::GaveUp) => Seen::Refused,
            _ => Seen::Coming,
        }
    }

    /// The runner listens: so its store is whole and its registration saved, whatever happens from here on.
    fn is_registered(&self, container: &Container, record: &mut Record) -> anyhow::Result<()> {
        if container.layout == Layout::Contract {
            self.note_seeded(container, true)?;
        }
        if record.registered.as_ref().is_some_and(|known| known.is_same(&record.identity))
            && record.token_lapses.is_none()
        {
            return Ok(());
        }
        record.registered = Some(record.identity.clone());
        record.token_lapses = None;
        self.installation.save(record).context("the record of the registration")
    }

    pub(super) fn not_online(&self, container: &Container, why: &str) -> NotOnline {
        let log = self.engine.last_log(&container.name, 3);
        let last =
            log.lines().next_back().map_or_else(String::new, |line| format!(" (its last line: {line})"));
        NotOnline { name: container.name.to_string(), why: format!("{why}{last}") }
    }
}
