//! `up --host`: a runner without a container, as a service of this host.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::json;

use super::listed_elsewhere;
use crate::{
    commands::{
        install::{self, Waiting, expect_ours, expect_same_kind, expect_slice, expect_systemd},
        steps::{
            caching::Caching,
            declared::Declared,
            housing::Housing,
            push_only,
            record::{identity, lasting},
            registration,
            token::login,
        },
    },
    config::Settings,
    github::GitHub,
    host::{self, Folders, JobsUser, World},
    installation::{Locked, Places},
    progress::Progress,
    systemd::{self, HostRunner, PusherUnit, Writer},
};

/// What the person said, beside the settings.
pub struct OnHost<'a> {
    pub settings: Settings,
    pub accept_strangers: bool,
    pub wait: Duration,
    pub progress: &'a Progress,
}

impl OnHost<'_> {
    pub async fn run(mut self, runner: &Path) -> anyhow::Result<ExitCode> {
        expect_systemd()?;
        let program = install::program()?;
        host::unpacked(runner)?;
        host::expect_nix()?;
        let installation = Places::standard().installation(&self.settings.name);
        expect_ours(&installation, installation.record()?.is_some())?;
        expect_same_kind(&installation, &self.settings)?;
        if installation.is_declared() {
            // What nobody gave stays as it was.
            let before = Declared::whatever_its_caps(&installation)?.settings;
            self.settings.keep_caps(&before.caps);
        }
        expect_slice(&self.settings.name)?;
        let github = self.github().await?;
        if let Some(cache) = &mut self.settings.cache {
            install::expect_no_login(cache)?;
            Caching::expect(cache)?;
        }
        let installation = installation.lock_patiently(Duration::from_secs(60))?;
        let is_first = !installation.is_declared();
        let places = installation.places();
        let ready = match Box::pin(self.declare(&installation, &github, runner, program)).await {
            Ok(ready) => ready,
            Err(error) => {
                // Nothing half done: what was refused before anything was declared leaves no files behind.
                if is_first && !installation.is_declared() {
                    let had_store = installation.store()?.is_some();
                    installation.erase(had_store)?;
                }
                return Err(error);
            }
        };
        if installation.resume()? {
            self.progress.note("it was drained: it takes jobs again");
        }
        // Its unit takes the lock next.
        drop(installation);
        let settings = &self.settings;
        let (housing, progress) = (Housing::Host, self.progress);
        let waiting = Waiting { settings, housing: &housing, installation: &places, progress };
        let began = waiting.start(ready.changed)?;
        let runner = waiting.online(&github, began, ready.minted, self.wait).await?;
        waiting.tell(runner.as_ref(), &json!({}));
        Ok(ExitCode::SUCCESS)
    }

    async fn github(&mut self) -> anyhow::Result<GitHub> {
        let settings = &mut self.settings;
        let credential = login(&settings.github, &settings.scope).await?;
        // A pipe that was read once is nobody's file at the next boot.
        settings.github.token_file = settings.github.token_file.as_deref().and_then(lasting);
        Ok(GitHub::new(&settings.github.server, &settings.scope, &credential)?)
    }

    /// Everything up to the service's start.
    async fn declare(
        &self,
        installation: &Locked,
        github: &GitHub,
        runner: &Path,
        program: PathBuf,
    ) -> anyhow::Result<Ready> {
        let (settings, progress) = (&self.settings, self.progress);
        if !installation.is_declared()
            && let Some(elsewhere) = listed_elsewhere(github, settings).await?
        {
            return Err(elsewhere.into());
        }
        let accepted =
            push_only::demand(github, &identity(settings), self.accept_strangers, progress).await?;
        let user = JobsUser::of(&settings.name);
        user.exists()?;
        if let Some(accepted) = &accepted {
            installation.save_accepted(accepted)?;
        }
        let step = progress.step("service", "writing the service");
        // There is room for settings of Nix, then.
        fs::create_dir_all("/etc/nix").context("/etc/nix")?;
        let is_new = installation.declare(settings)?;
        installation.make_handover(None)?;
        let service = self.service(installation, &user, program);
        service.make_user()?;
        let ids = user.ids()?;
        let (folders, handover) = (Folders(installation.state.clone()), installation.handover.as_path());
        World { folders, handover, runner, user: &user.name, ids }.prepare()?;
        Caching::keep(installation, settings, None, jiff::Timestamp::now())?;
        let changed = service.write()?;
        step.done(&format!("{}; jobs are {}", systemd::service_name(&settings.name), user.name));
        let minted = registration::by_hand(github, installation, progress).await?;
        Ok(Ready { changed: changed || is_new, minted })
    }

    fn service(&self, installation: &Locked, user: &JobsUser, program: PathBuf) -> HostRunner {
        let (settings, folders) = (&self.settings, Folders(installation.state.clone()));
        let pusher = settings.cache.as_ref().map(|cache| PusherUnit {
            name: settings.name.clone(),
            writer: Writer::UpHost,
            hidden: folders.not_for_the_pusher(),
            program: program.clone(),
            store: "/nix/store".into(),
            queue: folders.queue(),
            settings: installation.cache(),
            key: cache.key_file.clone(),
            login: cache.login_file.clone(),
            folder: Caching::folder(cache),
            patience: settings.patience.0,
        });
        HostRunner {
            name: settings.name.clone(),
            program,
            caps: settings.caps,
            patience: settings.patience.0,
            state: installation.state.clone(),
            handover: installation.handover.clone(),
            credential: install::credential(settings),
            pusher,
            sysusers: user.sysusers(&folders.jobs().join("home")),
        }
    }
}

struct Ready {
    changed: bool,
    minted: bool,
}
