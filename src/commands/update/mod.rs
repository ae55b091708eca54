//! `update` and `rollback`: another image for a runner that works, without a job lost on the way.

mod crash;
mod rest;
mod switch;
mod turn;

use std::{fs::File, process::ExitCode, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use nix::fcntl::Flock;
use serde_json::json;

pub use self::{crash::recover, rest::WindowOver, switch::RolledBack};
use self::{rest::rest, switch::Switch, turn::turn};
use super::{
    prepare,
    steps::{
        container::{container, slice},
        image::{Fetch, ReadyImage},
        subject::Subject,
        verification::{check, policy, rules, summary},
    },
};
use crate::{
    config::{Host, Settings},
    engine::{Container, SeccompProfile},
    image::{ImageReference, Registry},
    installation::{Places, Previous, Record, Refused},
    progress::{Output, Progress},
    systemd,
    value::ImageDigest,
};

/// Bring a runner to a newer image, and back by itself when that does not work
///
/// The tag that it was installed with is resolved again; what it names is verified and downloaded beside the runner that
/// works, and tried in a container of its own, without a registration. Then the running job is waited for, the image is
/// changed, and the runner must listen: if it does not, the image that worked before is started again, and exit code 8
/// says so. Settings, registration and store stay what they are. What was gone back from is not tried again, unless --to
/// names it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder update --check
  vega-builder update
  vega-builder up octo-org/heavy-builds --update-at 'Sun 03:00' --update-within 2h
      from then on by itself, on Sundays between three and five
  vega-builder update octo-org/heavy-builds --to ghcr.io/ad-astra-computing/vega-builder:v0.19.0
  vega-builder rollback")]
pub struct Update {
    #[command(flatten)]
    common: Common,
    /// Only say whether there is a newer image
    #[arg(long, conflicts_with_all = ["to", "now"])]
    check: bool,
    /// As its timer does: only while the window of `update.at` is open, and no longer than that
    #[arg(long, conflicts_with_all = ["check", "to", "now"])]
    in_window: bool,
    /// Another tag or digest of the same image, an older one too
    #[arg(long, value_name = "IMAGE")]
    to: Option<String>,
}

/// Go back to the image that ran before the last update
///
/// It is verified again, by today's rules, and then the way is that of `update`: the running job is waited for, and when
/// the older image does not listen, the newer one comes back. Updates by themselves leave the image alone that was gone
/// back from.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder rollback
  vega-builder rollback octo-org/heavy-builds --now")]
pub struct Rollback {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The runner's name, its repository or its organisation, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    runner: Option<String>,
    /// Do not wait for the running job: it is cancelled
    #[arg(long)]
    now: bool,
    /// How long the image gets to listen, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    wait: u64,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Another vega-builder may be about to end.
const PATIENCE: Duration = Duration::from_secs(60);

impl Update {
    pub fn output(&self) -> Output {
        self.common.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        if self.in_window {
            let installation = Places::standard().find(self.common.runner.as_deref())?;
            if let Some(drained) = installation.drained()? {
                let text =
                    format!("{} is left alone: it is drained since {:.0}", installation.name, drained.since);
                let result = json!({ "name": installation.name, "changed": false });
                Progress::new(self.common.output).result(&text, &result);
                return Ok(ExitCode::SUCCESS);
            }
        }
        let mut change =
            if self.check { Change::of(self.common)? } else { Change::alone(self.common).await? };
        if self.in_window {
            change.until = change.window()?;
            if change.until.is_none() {
                return Ok(change.stays("is left alone: its window (update.at) is not open now"));
            }
        }
        let image = match &self.to {
            Some(to) => change.expect_same_name(to.parse()?)?,
            None => change.settings.image.parse()?,
        };
        if self.check {
            return change.check(&image).await;
        }
        let fetch = Fetch {
            engine: change.subject.engine()?,
            trust: &change.settings.trust,
            image_file: change.settings.image_file.as_deref(),
            progress: &change.progress,
            before: Some(&change.record),
            allow_rollback: self.to.is_some(),
        };
        let image = fetch.image(image).await?;
        let digest = image.verified.value().clone();
        if digest == change.record.digest {
            return Ok(change.stays("runs the newest image already"));
        }
        if let Some(refused) = change.refused(&digest)?.filter(|_| self.to.is_none()) {
            let why = format!(
                "stays: {} did not work here on {:.0} ({}); --to tries it again",
                digest.short(),
                refused.at,
                refused.why
            );
            return Ok(change.stays(&why));
        }
        Box::pin(change.switch(image, None)).await
    }
}

impl Rollback {
    pub fn output(&self) -> Output {
        self.common.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let change = Change::alone(self.common).await?;
        let name = &change.subject.installation.name;
        let previous = change.subject.installation.updates()?.previous;
        let previous = previous.filter(|previous| previous.record.digest != change.record.digest);
        let previous =
            previous.with_context(|| format!("{name} has had no other image since it was installed; `vega-builder update {name} --to IMAGE` names one"))?;
        // By whom it must be signed is to be said today.
        let record = Record { trust: change.settings.trust.clone(), ..previous.record };
        let (engine, progress) = (change.subject.engine()?, &change.progress);
        let (image, _) = prepare::again(&record, previous.receipt.as_ref(), engine, progress).await?;
        let from = change.record.digest.clone();
        let progress = Progress::new(change.common.output);
        let why = "somebody went back from it".to_owned();
        let leaves = Refused { digest: from.clone(), at: Timestamp::now(), why };
        let code = Box::pin(change.switch(image, Some(leaves))).await?;
        progress.note(&format!(
            "`vega-builder update` leaves {} alone from now on, unless --to names it",
            from.short()
        ));
        Ok(code)
    }
}

/// A runner whose image is to be changed.
struct Change {
    common: Common,
    subject: Subject,
    settings: Settings,
    record: Record,
    progress: Progress,
    /// The end of the window, where it keeps to one.
    until: Option<Timestamp>,
    /// What keeps another command's change away.
    turn: Option<Flock<File>>,
}

impl Change {
    async fn alone(common: Common) -> anyhow::Result<Self> {
        let installation = Places::standard().find(common.runner.as_deref())?;
        let turn = turn(&installation, &Progress::new(common.output)).await?;
        Ok(Self { turn: Some(turn), ..Self::of(common)? })
    }

    fn of(common: Common) -> anyhow::Result<Self> {
        let progress = Progress::new(common.output);
        let subject = Subject::find(common.runner.as_deref())?;
        let installation = &subject.installation;
        installation.expect_not_drained()?;
        let name = &installation.name;
        subject.engine()?;
        let record = subject.record.clone().with_context(|| {
            format!("{name} has never started yet: {}", installation.never_started(subject.is_ephemeral))
        })?;
        let file = if installation.is_declared() {
            installation.declaration.clone()
        } else {
            installation.settings()
        };
        anyhow::ensure!(
            file.exists(),
            "what {name} was installed with is not known: type `vega-builder up {}` once with its settings",
            record.identity.scope.argument()
        );
        anyhow::ensure!(
            subject.is_ours_inside(),
            "{} is not of our layout, and cannot be told to rest: type `vega-builder up` with --image",
            record.image
        );
        if !installation.is_declared() {
            // As it is noted now: `up` may have brought another image while the lock was waited for.
            let locked = installation.lock_patiently(PATIENCE)?;
            let noted = locked.record()?.context("the record is gone")?;
            recover(subject.engine()?, &locked, &noted)?;
        }
        let host = Host::read().context("the host's memory and processors cannot be read from /proc")?;
        let settings = Settings::declared(&file, name, &host)?;
        Ok(Self { common, subject, settings, record, progress, until: None, turn: None })
    }

    /// The end of the window that is open now.
    fn window(&self) -> anyhow::Result<Option<Timestamp>> {
        let name = &self.subject.installation.name;
        let update = self.settings.update.as_ref();
        let update = update.with_context(|| {
            format!("{name} has no window: `update.at` says when it opens; `vega-builder update {name}` updates now")
        })?;
        Ok(systemd::window(update, Timestamp::now())?)
    }

    /// A file declares which image it is; another digest of that is ours to choose.
    fn expect_same_name(&self, image: ImageReference) -> anyhow::Result<ImageReference> {
        let (name, declared) = (image.name(), self.settings.image.parse::<ImageReference>()?.name());
        let here = &self.subject.installation;
        let next = match here.file().filter(|_| !here.is_declared()) {
            Some(file) => format!("`vega-builder up --config {} --image` changes it", file.display()),
            None => here.to_change().to_owned(),
        };
        anyhow::ensure!(name == declared, "{name} is another image than {declared}: {next}");
        Ok(image)
    }

    fn refused(&self, digest: &ImageDigest) -> anyhow::Result<Option<Refused>> {
        let refused = self.subject.installation.updates()?.refused;
        Ok(refused.filter(|refused| refused.digest == *digest))
    }

    async fn check(&self, image: &ImageReference) -> anyhow::Result<ExitCode> {
        let step = self.progress.step("resolve", &format!("asking {} for {image}", image.registry()));
        let registry = Registry::of(image, self.settings.image_file.as_deref())?;
        let resolved = registry.resolve().await?;
        let digest = resolved.platform.digest.clone();
        step.done(&format!("{image} is {digest}"));
        let is_new = digest != self.record.digest;
        if is_new {
            let step = self.progress.step("verify", "checking the signature");
            let policy = policy(rules(&self.settings.trust)?, &self.progress).await?;
            step.done(&summary(&check(image, &registry, &resolved, &policy, None).await?));
        }
        let refused = self.refused(&digest)?;
        let name = &self.subject.installation.name;
        let text = match (&refused, is_new) {
            (_, false) => format!("{name} runs the newest image"),
            (None, true) => format!("{} is newer: type `vega-builder update {name}`", digest.short()),
            (Some(refused), true) => {
                format!("{} is newer, and did not work here: {}", digest.short(), refused.why)
            }
        };
        self.progress.result(
            &text,
            &json!({ "name": name, "runs": self.record.digest, "newest": digest, "is_new": is_new, "refused": refused }),
        );
        Ok(ExitCode::SUCCESS)
    }

    fn stays(&self, why: &str) -> ExitCode {
        let name = &self.subject.installation.name;
        let result = json!({ "name": name, "digest": self.record.digest, "changed": false });
        self.progress.result(&format!("{name} {why}"), &result);
        ExitCode::SUCCESS
    }

    /// Try it, come to rest, change, and prove that it listens.
    async fn switch(self, image: ReadyImage, leaves: Option<Refused>) -> anyhow::Result<ExitCode> {
        let (subject, progress) = (&self.subject, &self.progress);
        let name = subject.installation.name.clone();
        let container = self.container(&image)?;
        self.preflight(&container)?;
        let _lease = rest(subject, self.common.now, self.until, progress).await?;
        let digest = container.image.value().clone();
        let record = Record {
            image: self.settings.image.parse::<ImageReference>()?.to_string(),
            digest: digest.clone(),
            evidence: container.image.evidence().clone(),
            local_id: container.local_id.clone(),
            ..self.record.clone()
        };
        let switch = Switch {
            subject,
            settings: &self.settings,
            container: &container,
            to: Previous { record, receipt: Some(image.receipt.clone()) },
            leaves,
            now: self.common.now,
            patience: Duration::from_secs(self.common.wait),
            progress,
        };
        switch.run().await?;
        drop(self.turn);
        let from = self.record.digest.clone();
        progress.result(
            &format!(
                "{name} listens, from {}; `vega-builder rollback {name}` goes back to {}",
                digest.short(),
                from.short()
            ),
            &json!({ "name": name, "digest": digest, "from": from, "changed": true }),
        );
        Ok(ExitCode::SUCCESS)
    }

    fn container(&self, image: &ReadyImage) -> anyhow::Result<Container> {
        let locked = self.subject.installation.lock_patiently(PATIENCE)?;
        let seccomp = SeccompProfile::from_host()?;
        let container = container(&self.settings, self.subject.engine()?, &locked, &seccomp, image)?;
        let slice = if locked.is_declared() { None } else { slice(self.subject.engine()?, &locked.name)? };
        Ok(Container { unconfined: self.record.unconfined, slice, ..container })
    }

    fn preflight(&self, container: &Container) -> anyhow::Result<()> {
        let step = self.progress.step("preflight", "trying the image in a container of its own");
        match self.subject.engine()?.preflight(container)? {
            Ok(told) => {
                step.done(&format!(
                    "its store is whole, a build is sandboxed, GitHub's runner is {}",
                    told.runner_version
                ));
                Ok(())
            }
            Err(why) => {
                step.failed(&why);
                let (to, name) = (container.image.value().short().to_owned(), &container.name);
                Err(RolledBack { to, why, back: format!("{name} was not touched") }.into())
            }
        }
    }
}
