//! The wait until GitHub lists the runner as online, or its container says why it cannot be.

use std::time::Duration;

use super::Up;
use crate::{
    contract::Phase,
    engine::{Container, Status},
    exit::NotOnline,
    github::{GitHub, Runner},
};

impl Up<'_> {
    /// Wait until GitHub lists the runner as online, or its container says why it cannot be.
    pub(super) async fn online(
        &self,
        github: &GitHub,
        container: &Container,
        wait: Duration,
    ) -> anyhow::Result<Runner> {
        let step = self.progress.step("online", "waiting for the runner to listen");
        let deadline = tokio::time::Instant::now() + wait;
        let mut pause = Duration::from_millis(200);
        loop {
            let state = self.installation.runner_state();
            let listens = state.as_ref().is_none_or(|s| matches!(s.phase, Phase::Listening | Phase::Busy));
            if listens
                && let Some(runner) = github.runner(&container.name).await?
                && runner.is_online()
                && runner.has_labels(&self.settings.labels)
            {
                step.done(&format!(
                    "{} is runner {} at {}",
                    runner.name, runner.id, self.settings.repository
                ));
                return Ok(runner);
            }
            let message = state.as_ref().map(|state| state.message.clone()).unwrap_or_default();
            if !message.is_empty() {
                step.doing(&message);
            }
            let refused = state.is_some_and(|state| match state.phase {
                Phase::WaitingForToken => !self.installation.has_token(),
                Phase::Stopping => true,
                _ => false,
            });
            if refused && !message.is_empty() {
                anyhow::bail!(self.not_online(container, &message));
            }
            let gone = self.engine.inspect(&container.name)?.is_none_or(|now| now.status == Status::Stopped);
            if gone {
                anyhow::bail!(self.not_online(container, "its container ended"));
            }
            if tokio::time::Instant::now() >= deadline {
                let why = format!("GitHub does not list it as online after {} s; {message}", wait.as_secs());
                anyhow::bail!(self.not_online(container, why.trim_end_matches("; ")));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(2));
        }
    }

    pub(super) fn not_online(&self, container: &Container, why: &str) -> NotOnline {
        let log = self.engine.last_log(&container.name, 3);
        let last =
            log.lines().next_back().map_or_else(String::new, |line| format!(" (its last line: {line})"));
        NotOnline { name: container.name.to_string(), why: format!("{why}{last}") }
    }
}
