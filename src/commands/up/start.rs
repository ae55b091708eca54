//! The token in, the start, the proof of the caps, and the way back after a reboot.

use anyhow::Context as _;
use jiff::Timestamp;

use super::{Up, image::ReadyImage};
use crate::{
    boot::{self, Boot},
    commands::register::{lay_token, needs_token},
    engine::{Container, InForce, Inspected, Layout, Status},
    github::GitHub,
    installation::{Identity, Record, Store},
};

impl Up<'_> {
    pub(super) fn record(&self, image: &ReadyImage, container: &Container) -> anyhow::Result<Record> {
        let settings = self.settings;
        let before = self.installation.record()?;
        let identity = Identity {
            server: settings.github.server.clone(),
            repository: settings.repository.clone(),
            name: settings.name.clone(),
            labels: settings.labels.clone(),
        };
        let record = Record {
            engine: self.engine.program().to_owned(),
            image: image.reference.to_string(),
            digest: container.image.value().clone(),
            evidence: container.image.evidence().clone(),
            caps: settings.caps,
            registered: before.as_ref().and_then(|record| record.registered.clone()),
            token_lapses: before
                .filter(|record| record.identity == identity)
                .and_then(|record| record.token_lapses)
                .filter(|lapses| *lapses > Timestamp::now()),
            identity,
        };
        self.installation.save(&record)?;
        Ok(record)
    }

    /// Mint a registration token and hand it in, when the container needs one.
    pub(super) async fn token(
        &self,
        github: &GitHub,
        container: &Container,
        record: &mut Record,
        created: bool,
    ) -> anyhow::Result<()> {
        let step = self.progress.step("token", "looking for a saved registration");
        let status = if created { Status::Created } else { self.inspect(container)?.status };
        let Some(why) = needs_token(self.engine, self.installation, container, record, status)? else {
            step.done("not needed: the saved registration serves");
            return Ok(());
        };
        step.doing(&format!("minting a registration token: {why}"));
        lay_token(self.engine, self.installation, github, container, record).await?;
        step.done("minted, handed in 0400, never in an argument or a variable");
        Ok(())
    }

    pub(super) fn inspect(&self, container: &Container) -> anyhow::Result<Inspected> {
        self.engine.inspect(&container.name)?.context("the container is gone")
    }

    pub(super) fn start(&self, container: &Container, created: bool) -> anyhow::Result<()> {
        let step = self.progress.step("start", "starting the container");
        if !created && self.inspect(container)?.status == Status::Running {
            step.done("it runs already");
            return Ok(());
        }
        self.engine.start(&container.name)?;
        step.done(&format!("{} runs", container.name));
        if container.layout == Layout::Contract {
            let userns_base = container.userns.map(|userns| userns.base);
            self.installation
                .save_store(&Store { userns_base, seeded: Some(container.image.value().clone()) })?;
        }
        Ok(())
    }

    /// Read the caps back; a container whose caps are not in force is stopped.
    pub(super) fn prove_caps(&self, container: &Container) -> anyhow::Result<(Inspected, InForce)> {
        let step = self.progress.step("caps", "reading the caps back from the cgroup");
        let running = self.inspect(container)?;
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
            step.done("this host's boot is not ours to arrange: after a reboot, run this command again");
            return Ok(());
        }
        let boot = Boot {
            name: &container.name,
            handover: &self.installation.handover,
            owner: container.userns.map_or(0, |userns| userns.base),
            starter: (self.engine.program() == "podman").then(|| boot::program("podman")).flatten(),
        };
        let changed = boot.arrange()?;
        step.done(if changed {
            "a unit starts it after a reboot, without a new token"
        } else {
            "arranged already"
        });
        Ok(())
    }
}
