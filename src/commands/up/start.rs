//! The record, the token in, the start, the proof of the caps, and the way back after a reboot.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;

use super::{Up, before::Plan, image::ReadyImage};
use crate::{
    boot::{self, Boot},
    commands::register::{Token, hand_over, needs_token},
    engine::{Container, InForce, Inspected, Status},
    github::GitHub,
    installation::{Accepted, Record},
};

impl Up<'_> {
    pub(super) fn record(
        &self,
        image: &ReadyImage,
        container: &Container,
        accepted: Option<Accepted>,
    ) -> Record {
        let settings = self.settings;
        let before = self.before.as_ref();
        let identity = self.identity();
        Record {
            engine: self.engine.program().to_owned(),
            layout: container.layout,
            image: image.reference.to_string(),
            digest: container.image.value().clone(),
            evidence: container.image.evidence().clone(),
            trust: settings.trust.clone(),
            local_id: container.local_id.clone(),
            unconfined: container.unconfined,
            token_file: settings.github.token_file.as_ref().and_then(|path| lasting(path)),
            caps: settings.caps,
            registered: before.and_then(|record| record.registered.clone()),
            // Once accepted it is shown for ever, whatever has become of it since.
            accepted: accepted.or_else(|| before.and_then(|record| record.accepted.clone())),
            token_lapses: before
                .filter(|record| record.identity.is_same(&identity))
                .and_then(|record| record.token_lapses)
                .filter(|lapses| *lapses > Timestamp::now()),
            identity,
        }
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
        self.engine.start(&container.name)?;
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
        if !boot::is_ours_to_arrange() {
            step.done(boot::why_not());
            return Ok(());
        }
        let boot = Boot {
            name: &container.name,
            handover: &self.installation.handover,
            owner: container.userns.map_or(0, |userns| userns.base),
            starter: (self.engine.program() == "podman").then(|| boot::program("podman")).flatten(),
            verifier: std::env::current_exe().ok().filter(|program| program.is_file()),
        };
        let changed = boot.arrange()?;
        step.done(if changed {
            "a unit verifies and starts it after a reboot, without a new token"
        } else {
            "arranged already"
        });
        Ok(())
    }
}

/// The path of a file that a later command can read too: no pipe.
fn lasting(path: &Path) -> Option<PathBuf> {
    path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    std::path::absolute(path).ok()
}
