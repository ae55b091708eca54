//! From one image to another, and back when the other one does not come to listen.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use nix::sys::signal::Signal;

use crate::{
    commands::{
        prove::prove,
        steps::{ending::has_unit, listening::until_listening, pushing::keep_pusher, subject::Subject},
    },
    config::Settings,
    contract::{Phase, State},
    engine::{Container, Inspected, predecessor_name},
    image::ImageReference,
    installation::{self, Locked, Places, Previous, Record, Refused, Store, Updates},
    progress::Progress,
    systemd,
};

/// Another vega-builder may be about to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// A runner at rest has nothing to wait for.
const STOPPING: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(200);
/// What worked a minute ago gets so long to work again.
const WAY_BACK: Duration = Duration::from_secs(180);

/// A runner at rest, and what it is to be.
pub struct Switch<'a> {
    pub subject: &'a Subject,
    pub settings: &'a Settings,
    pub container: &'a Container,
    /// The other image, in the place of what was.
    pub to: Previous,
    /// What is gone back from: updates by themselves leave it alone.
    pub leaves: Option<Refused>,
    /// Whether a job that runs is cancelled.
    pub now: bool,
    /// How long the other image gets to listen.
    pub patience: Duration,
    pub progress: &'a Progress,
}

/// The new image did not work; the old one does again, or not.
#[derive(Debug, thiserror::Error)]
#[error("{to} does not work here: {why}; {back}")]
pub struct RolledBack {
    pub to: String,
    pub why: String,
    pub back: String,
}

impl Switch<'_> {
    /// Change the image, and prove that it listens; on an error what was before listens again.
    pub async fn run(self) -> anyhow::Result<()> {
        let (before, known) = self.lay_ready()?;
        let tried = match self.start_other(&before) {
            Ok(began) => self.listens(began, self.patience).await.map(|()| began),
            Err(why) => Err(why),
        };
        match tried {
            Ok(began) => self.keep(&before, known.previous, began),
            Err(_) if self.subject.installation.drained()?.is_some() => self.drained(&before, &known),
            Err(why) => Err(self.back(&before, known, &format!("{why:#}")).await.into()),
        }
    }

    /// Somebody's drain is stronger, and says nothing of the image: all is as it was, and at rest.
    fn drained(&self, before: &Previous, known: &Updates) -> anyhow::Result<()> {
        let (name, to) = (&self.subject.installation.name, self.to.record.digest.short());
        drop(self.put_back(before, known)?);
        anyhow::bail!(
            "{name} was drained before {to} had come to listen, and stays with {}: `vega-builder resume {name}`, then \
             `vega-builder update {name}` tries it again",
            before.record.digest.short()
        )
    }

    fn locked(&self) -> anyhow::Result<Locked> {
        Ok(self.subject.installation.lock_patiently(PATIENCE)?)
    }

    /// The store has the other image's paths, whatever comes: they are added, and nothing is taken away. What was
    /// noted until now.
    fn lay_ready(&self) -> anyhow::Result<(Previous, Updates)> {
        let locked = self.locked()?;
        // Somebody's drain while the job was waited for is stronger.
        locked.expect_not_drained()?;
        let record = locked.record()?.context("the record is gone")?;
        let is_same = self.subject.record.as_ref().is_some_and(|known| known.digest == record.digest);
        if !is_same {
            return Err(installation::Error::Switched { name: locked.name.to_string() }.into());
        }
        let step = self.progress.step("seed", "adding the image's store paths");
        if self.subject.is_ephemeral {
            // Below the stores of its jobs.
            self.subject.engine()?.keep_base(self.container)?;
        } else {
            // What was there stays whole if this is cut short.
            self.subject.engine()?.seed(self.container)?;
            let userns_base = self.container.userns.map(|userns| userns.base);
            let seeded = Some(self.container.image.value().clone());
            locked.save_store(&Store { userns_base, seeded })?;
        }
        step.done("the image's store paths are in the store");
        self.expect_at_rest()?;
        let before = Previous { record, receipt: locked.receipt()? };
        Ok((before, locked.updates()?))
    }

    /// What follows ends it, and would cancel a job.
    fn expect_at_rest(&self) -> anyhow::Result<()> {
        let installation = &self.subject.installation;
        if self.now || self.subject.running()?.is_none() {
            return Ok(());
        }
        match installation.runner_state().filter(|state| state.phase == Phase::Busy) {
            Some(State { message: job, .. }) => {
                Err(installation::Error::AtWork { name: installation.name.to_string(), job }.into())
            }
            None => Ok(()),
        }
    }

    /// The other image, what is left alone from now on, and the way back for whoever comes after us.
    fn note_other(&self, locked: &Locked, before: &Previous) -> anyhow::Result<()> {
        // Before anybody can see the other image noted: an update that begins then would go forward again.
        let refused = self.leaves.clone().or(locked.updates()?.refused);
        locked.save_updates(&Updates { previous: Some(before.clone()), refused })?;
        Self::note(locked, &self.to)
    }

    fn note(locked: &Locked, what: &Previous) -> anyhow::Result<()> {
        if let Some(receipt) = &what.receipt {
            locked.save_receipt(receipt)?;
        }
        Ok(locked.save(&what.record)?)
    }

    fn is_unit(&self) -> bool {
        self.subject.installation.is_declared()
    }

    /// Since when it is the other image that speaks.
    fn start_other(&self, before: &Previous) -> anyhow::Result<Timestamp> {
        let step = self.progress.step("switch", "starting the other image");
        let name = &self.subject.installation.name;
        let began = if self.is_unit() {
            self.note_other(&self.locked()?, before)?;
            self.start_unit(self.now)?
        } else {
            let (engine, locked) = (self.subject.engine()?, self.locked()?);
            let successor = self.container.successor_name();
            if self.container.slice.is_some() {
                systemd::make_slice(name)?;
            }
            engine.remove(&successor)?;
            engine.create(self.container, &successor)?;
            engine.stop(name)?;
            engine.remove(&predecessor_name(name))?;
            engine.rename(name.as_str(), &predecessor_name(name))?;
            engine.rename(&successor, name.as_str())?;
            self.note_other(&locked, before)?;
            self.start_container(&locked, &self.to.record)?
        };
        step.done(&format!("{name} starts {}", self.to.record.digest.short()));
        Ok(began)
    }

    fn start_container(&self, locked: &Locked, record: &Record) -> anyhow::Result<Timestamp> {
        let (engine, name) = (self.subject.engine()?, &locked.name);
        locked.end_lease()?;
        locked.forget_state();
        let began = Timestamp::now();
        engine.start(name)?;
        let running = self.subject.running()?.with_context(|| format!("{name} ended at once"))?;
        prove(engine, record, &running).map(|()| began)
    }

    /// Its unit verifies what it starts, and proves it, by itself. It starts anew even when this process dies.
    fn start_unit(&self, now: bool) -> anyhow::Result<Timestamp> {
        let installation = &self.subject.installation;
        let service = systemd::service_name(&installation.name);
        if self.subject.is_ephemeral && !has_unit(&installation.name) {
            installation.end_lease()?;
            installation.signal_keeper(Signal::SIGHUP)?;
            return Ok(Timestamp::now());
        }
        let old = self.subject.running()?.map(|running| running.id);
        let keeper = || systemd::property(&service, "MainPID");
        let old_keeper = keeper();
        let _ = systemd::systemctl(&["reset-failed", "--quiet", &service]);
        systemd::systemctl(&["restart", "--no-block", &service])?;
        if now {
            // The unit's own stop has patience with a job.
            if self.subject.is_ephemeral {
                let _ = systemd::systemctl(&["kill", "--kill-whom=main", "--signal=SIGINT", &service]);
            } else {
                self.subject.engine()?.stop(&installation.name)?;
            }
        }
        if self.subject.is_ephemeral {
            // It ends once what its jobs built is pushed: its unit bounds that.
            while !matches!(old_keeper.as_str(), "" | "0") && keeper() == old_keeper {
                thread::sleep(LOOK);
            }
        }
        let until = Instant::now() + STOPPING;
        // Until its last process is gone: PID 1 has a word to say as it ends.
        let is_old = |found: Inspected| Some(&found.id) == old.as_ref() && found.pid != 0;
        while old.is_some() && self.subject.container()?.is_some_and(is_old) {
            anyhow::ensure!(Instant::now() < until, "{service} does not stop");
            thread::sleep(LOOK);
        }
        installation.end_lease()?;
        // What the old one said as it went is not the new one's word.
        Ok(Timestamp::now())
    }

    async fn listens(&self, began: Timestamp, patience: Duration) -> anyhow::Result<()> {
        let step = self.progress.step("online", "waiting for the runner to listen");
        match until_listening(self.subject, began, patience, &step).await {
            Ok(()) => {
                step.done("it listens");
                Ok(())
            }
            Err(why) => {
                step.failed(&why.why);
                anyhow::bail!(why.why)
            }
        }
    }

    /// The other image works: it stays, and what was before is the way back.
    fn keep(&self, before: &Previous, older: Option<Previous>, began: Timestamp) -> anyhow::Result<()> {
        let (locked, engine) = (self.locked()?, self.subject.engine()?);
        if !self.is_unit() {
            keep_pusher(engine, &locked, self.settings, self.container, began, self.progress)?;
            engine.remove(&predecessor_name(&locked.name))?;
        }
        let keep = [&self.to.record.digest, &before.record.digest];
        if let Some(older) = older.filter(|older| !keep.contains(&&older.record.digest)) {
            self.forget_image(&older.record);
        }
        Ok(())
    }

    /// An image that nobody goes back to takes no room; one that cannot be removed is no failure of an update.
    fn forget_image(&self, record: &Record) {
        if Places::standard().others_need(&self.subject.installation.name, &record.digest) {
            return;
        }
        if let Ok(image) = record.image.parse::<ImageReference>() {
            let pinned = format!("{}@{}", image.name(), record.digest);
            let _ = self.subject.engine().map(|engine| engine.remove_image_patiently(&pinned));
        }
    }

    /// What worked before works again; the error that tells of both.
    async fn back(&self, before: &Previous, known: Updates, why: &str) -> RolledBack {
        let to = self.to.record.digest.short().to_owned();
        let name = &self.subject.installation.name;
        let came_back = match self.start_before(before, known, why) {
            Ok(began) => self.listens(began, WAY_BACK).await,
            Err(why) => Err(why),
        };
        let was = before.record.digest.short();
        let back = match came_back {
            Ok(()) => {
                self.forget_image(&self.to.record);
                format!("{name} is back at {was}, and listens")
            }
            Err(why) => format!(
                "and {was}, which ran before, does not come back: {why:#}; type `vega-builder status {name}`"
            ),
        };
        RolledBack { to, why: why.to_owned(), back }
    }

    fn start_before(&self, before: &Previous, known: Updates, why: &str) -> anyhow::Result<Timestamp> {
        let step = self.progress.step("rollback", "going back to the image that worked");
        let name = &self.subject.installation.name;
        let refused =
            Refused { digest: self.to.record.digest.clone(), at: Timestamp::now(), why: why.to_owned() };
        let locked = self.put_back(before, &Updates { refused: Some(refused), ..known })?;
        let began = if self.is_unit() {
            drop(locked);
            // What does not listen has no job, and need not heed a wish to stop.
            self.start_unit(!self.subject.is_ephemeral)?
        } else if self.subject.running()?.is_none() {
            self.start_container(&locked, &before.record)?
        } else {
            locked.end_lease()?;
            Timestamp::now()
        };
        step.done(&format!("{name} starts {}", before.record.digest.short()));
        Ok(began)
    }

    /// Names, record and what is known of other images are what they were.
    fn put_back(&self, before: &Previous, known: &Updates) -> anyhow::Result<Locked> {
        let (locked, name) = (self.locked()?, &self.subject.installation.name);
        locked.save_updates(known)?;
        if !self.is_unit() {
            let (engine, predecessor) = (self.subject.engine()?, predecessor_name(name));
            // Not renamed yet, when the other one could not even be created; an earlier update's may be left.
            let is_it = |found: &Inspected| found.image_id == before.record.local_id;
            if engine.inspect(&predecessor)?.as_ref().is_some_and(is_it) {
                engine.stop(name)?;
                engine.remove(name.as_str())?;
                engine.rename(&predecessor, name.as_str())?;
            }
            engine.remove(&self.container.successor_name())?;
        }
        Self::note(&locked, before)?;
        Ok(locked)
    }
}
