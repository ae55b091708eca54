//! What a unit must rest on: a systemd, a program that nobody else can change, a credential that stays.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{
    commands::steps::{caching::Caching, declared},
    config::{CacheSettings, Settings},
    engine::{self, Cli},
    installation::{self, Installation, Places},
    systemd::{self, PusherUnit, Writer},
    value::RunnerName,
};

#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    #[error(
        "this writes units of this host's systemd, and there is {0}; without that, use `vega-builder up` with a container"
    )]
    NoSystemd(&'static str),
    #[error(
        "this is NixOS, whose units are written by its configuration: `services.vega-builder.enable = true;`, as docs/nixos.md leads through; `vega-builder up` without a unit works here, too"
    )]
    NixOs,
    #[error(
        "root would run {} at every start, and others can write to {}; copy it where only root can write: `sudo install -m 0755 {} /usr/local/bin/`",
        .program.display(), .place.display(), .program.display()
    )]
    OpenProgram { program: PathBuf, place: PathBuf },
    #[error("this program cannot tell where it is: {0}; copy it to /usr/local/bin, and start it from there")]
    NoProgram(std::io::Error),
    #[error(
        "updates by themselves (update.at) want a timer of this host's systemd: run this command with sudo where systemd runs; elsewhere have cron type `vega-builder update`"
    )]
    NoTimer,
    #[error(
        "`up` keeps one container, and an ephemeral runner has one for every job: use `vega-builder install`, or, without systemd, `vega-builder slots`"
    )]
    NoUnit,
    #[error(
        "{name} is installed as a runner {is}, and is not made into the other: type `vega-builder uninstall {name}` first, or choose another name with --name"
    )]
    OtherKind { name: RunnerName, is: &'static str },
    #[error("{} declares no slots: write `ephemeral = 1` or more there", .0.display())]
    NoSlots(PathBuf),
    #[error(
        "{0} is no declared runner, and stays between its jobs: `vega-builder install --ephemeral N` makes one whose every job has a container of its own"
    )]
    Stays(RunnerName),
    #[error(
        "everybody can read what declares a unit, and {0} has a login in it: give the address without, and the login in a file (--cache-login, cache.login-file)"
    )]
    LoginInAddress(String),
    #[error(
        "the slice of {0} would be that of {1}: choose a name that differs in more than hyphens and underscores"
    )]
    SameSlice(RunnerName, RunnerName),
    #[error(
        "an ephemeral runner is registered for every job: name a GitHub token's file that stays with --token-file, or a GitHub App"
    )]
    NoCredential,
}

pub fn expect_systemd() -> Result<(), UnitError> {
    if Path::new("/etc/NIXOS").exists() {
        return Err(UnitError::NixOs);
    }
    if systemd::is_ours_to_arrange() {
        return Ok(());
    }
    let is_root = nix::unistd::geteuid().is_root();
    Err(UnitError::NoSystemd(if is_root { "none that runs" } else { "no right to: you are not root (sudo)" }))
}

/// This very program, which root will run: nobody else may have a say in what it is.
pub fn program() -> Result<PathBuf, UnitError> {
    let program = std::env::current_exe().map_err(UnitError::NoProgram)?;
    let is_open = |place: &&Path| {
        place.metadata().is_ok_and(|found| {
            // A sticky folder like /tmp lets nobody replace another's file.
            let shared = found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0;
            found.uid() != 0 || shared
        })
    };
    match program.ancestors().find(is_open) {
        None => Ok(program),
        Some(place) => {
            let place = place.to_owned();
            Err(UnitError::OpenProgram { program, place })
        }
    }
}

/// What systemd hands to the unit: the name that the unit knows it by, and its file.
pub fn credential(settings: &Settings) -> Option<(&'static str, PathBuf)> {
    let app = settings.github.app.as_ref().map(|app| (declared::APP_KEY, app.key_file.clone()));
    app.or_else(|| settings.github.token_file.clone().map(|file| (declared::TOKEN, file)))
}

/// An ephemeral runner registers before every job.
pub fn expect_credential(settings: &Settings) -> Result<(), UnitError> {
    if settings.ephemeral.is_some() && credential(settings).is_none() {
        return Err(UnitError::NoCredential);
    }
    Ok(())
}

/// A runner that stays has a registration and a store, one of slots has none: neither is left behind by a change.
pub fn expect_same_kind(installation: &Installation, settings: &Settings) -> anyhow::Result<()> {
    if !installation.is_declared() {
        return Ok(());
    }
    let before = declared::Declared::whatever_its_caps(installation)?.settings;
    let is = if before.host.is_some() != settings.host.is_some() {
        if before.host.is_some() { "on the host itself" } else { "in a container" }
    } else if before.ephemeral.is_some() != settings.ephemeral.is_some() {
        if before.ephemeral.is_some() {
            "whose every job has a container of its own"
        } else {
            "that stays between its jobs"
        }
    } else {
        return Ok(());
    };
    Err(UnitError::OtherKind { name: settings.name.clone(), is }.into())
}

/// The declaration is everybody's to read.
pub fn expect_no_login(cache: &CacheSettings) -> Result<(), UnitError> {
    let has_login =
        url::Url::parse(&cache.to).is_ok_and(|url| !url.username().is_empty() || url.password().is_some());
    if has_login { Err(UnitError::LoginInAddress(cache.shown())) } else { Ok(()) }
}

/// The service beside the runner's, when its builds go to a cache.
pub fn pusher(
    settings: &Settings,
    engine: &Cli,
    installation: &Installation,
    program: &Path,
) -> anyhow::Result<Option<PusherUnit>> {
    let Some(cache) = &settings.cache else { return Ok(None) };
    let name = &settings.name;
    Ok(Some(PusherUnit {
        name: name.clone(),
        writer: Writer::Install,
        hidden: Vec::new(),
        program: program.to_owned(),
        store: engine.volume_will_be_at(&engine::store_volume(name))?.join("store"),
        queue: engine.volume_will_be_at(&engine::queue_volume(name))?,
        settings: installation.cache(),
        key: cache.key_file.clone(),
        login: cache.login_file.clone(),
        folder: Caching::folder(cache),
        patience: settings.patience.0,
    }))
}

/// Nothing of `up`'s, and nothing that another tool declares.
pub fn expect_ours(installation: &Installation, has_record: bool) -> Result<(), installation::Error> {
    let name = installation.name.to_string();
    if installation.is_declared() {
        if installation.is_installed() {
            return Ok(());
        }
        let next = installation.to_change().to_owned();
        return Err(installation::Error::Declared { name, file: installation.declaration.clone(), next });
    }
    if has_record { Err(installation::Error::ByUp { name }) } else { Ok(()) }
}

/// A slice of its own: another runner's limits are not this one's.
pub fn expect_slice(name: &RunnerName) -> Result<(), UnitError> {
    let same = |other: &RunnerName| other != name && systemd::slice_name(other) == systemd::slice_name(name);
    let others = Places::standard().installed();
    let other = others.into_iter().map(|other| other.name).find(same);
    other.map_or(Ok(()), |other| Err(UnitError::SameSlice(name.clone(), other)))
}
