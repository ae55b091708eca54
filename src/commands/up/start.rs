//! The record, the token in, the start, the proof of the caps, and the way back after a reboot.

use anyhow::Context as _;
use jiff::Timestamp;

use super::{Up, before::Plan};
use crate::{
    commands::steps::{
        metadata,
        record::record,
        token::{Token, hand_over, needs_token},
        updating,
    },
    engine::{self, CANCELLING, Container, InForce, Inspected, Layout, Status, pusher_name},
    github::GitHub,
    installation::{Accepted, Record},
    systemd::{self, Boot},
};

impl Up<'_> {
    pub(super) fn record(&self, container: &Container, accepted: Option<Accepted>) -> anyhow::Result<Record> {
        let before = self.before.as_ref();
        let record = record(self.settings, self.engine, container, before, accepted)?;
        let on_its_way = before
            .filter(|before| before.identity.is_same(&record.identity))
            .and_then(|before| before.token_lapses)
            .filter(|lapses| *lapses > Timestamp::now());
        Ok(Record { token_lapses: on_its_way, ..record })
    }

    /// Mint a registration token, when the container will need one: before anything here is changed, because
    /// GitHub may refuse.
    pub(super) async fn mint(
        &self,
        github: &GitHub,
        container: &Container,
        record: &Record,
        plan: &Plan,
    ) -> anyhow::Result<Option<Token>> {
        let step = self.progress.step("token", "looking for a saved registration");
        let status = match plan {
            Plan::Keep(found) => found.status,
            _ => Status::Created,
        };
        let Some(why) = needs_token(self.engine, self.installation, container, record, status)? else {
            step.done("not needed: the saved registration serves");
            return Ok(None);
        };
        step.doing(&format!("minting a registration token: {why}"));
        let token = Token::mint(github, self.installation, container.layout).await?;
        step.done("minted, held in memory until the container is there");
        Ok(Some(token))
    }

    /// Hand a token in; without one nothing happens.
    pub(super) fn hand_in(
        &self,
        token: Option<Token>,
        container: &Container,
        record: &mut Record,
    ) -> anyhow::Result<()> {
        let Some(token) = token else { return Ok(()) };
        hand_over(self.engine, self.installation, record, token, container.layout)
    }

    fn inspect(&self, container: &Container) -> anyhow::Result<Inspected> {
        self.engine.inspect(container.name.as_str())?.context("the container is gone")
    }

    pub(super) fn start(&self, container: &Container, plan: &Plan) -> anyhow::Result<()> {
        let step = self.progress.step("start", "starting the container");
        if matches!(plan, Plan::Keep(found) if found.status == Status::Running) {
            step.done("it runs already");
            return Ok(());
        }
        // What an earlier start said of itself says nothing of this one.
        self.installation.forget_state();
        match self.engine.start(&container.name) {
            Err(engine::Error::Stuck { .. }) => {
                // All that it has is in its volumes.
                self.engine.remove(container.name.as_str())?;
                self.engine.create(container, container.name.as_str())?;
                self.engine.start(&container.name)?;
            }
            started => started?,
        }
        step.done(&format!("{} runs", container.name));
        Ok(())
    }

    /// Read the caps back, of the container that was made of the verified image; one whose caps are not in
    /// force, or that was made of another image, is stopped.
    pub(super) fn prove_caps(&self, container: &Container) -> anyhow::Result<(Inspected, InForce)> {
        let step = self.progress.step("caps", "reading the caps back from the cgroup");
        let running = self.inspect(container)?;
        let pinned = format!("{}@{}", container.image_name, container.image.value());
        if let Err(error) = self.engine.expect_container(&running.image_id, &container.local_id, pinned) {
            self.engine.stop(&container.name)?;
            return Err(error.into());
        }
        if running.pid == 0 {
            anyhow::bail!(self.not_online(container, "its container ended at once"));
        }
        metadata::deny_running(&container.name, running.pid);
        let proven = InForce::of(running.pid).and_then(|caps| caps.prove(&container.caps).map(|()| caps));
        match proven {
            Ok(caps) => {
                step.done(&format!("in force: {}", container.caps));
                Ok((running, caps))
            }
            Err(error) => {
                self.engine.stop(&container.name)?;
                Err(error.into())
            }
        }
    }

    /// See to it that the runner comes back after a reboot of the host.
    pub(super) fn arrange_boot(&self, container: &Container) -> anyhow::Result<()> {
        let step = self.progress.step("boot", "arranging the start after a reboot");
        updating::arrange(self.settings, self.updater.clone())?;
        if !systemd::is_ours_to_arrange() {
            step.done(&systemd::why_not("this command again"));
            return Ok(());
        }
        let Some(engine) = systemd::program(self.engine.program()) else {
            step.done(&format!("where {} is cannot be told", self.engine.program()));
            return Ok(());
        };
        let boot = Boot {
            name: &container.name,
            handover: &self.installation.handover,
            patience: container.patience.0 + CANCELLING,
            owner: container.userns.map_or(0, |userns| userns.base),
            engine,
            has_daemon: self.engine.program() == "docker",
            pusher: (self.settings.cache.is_some() && container.layout == Layout::Contract)
                .then(|| pusher_name(&container.name)),
            verifier: std::env::current_exe().ok().filter(|program| program.is_file()),
        };
        let changed = boot.arrange()?;
        systemd::begin(&container.name)?;
        step.done(if changed {
            "a unit verifies and starts it after a reboot, without a new token"
        } else {
            "arranged already"
        });
        Ok(())
    }
}
