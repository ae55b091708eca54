//! The container that the settings ask for.

use std::collections::BTreeMap;

use super::image::ReadyImage;
use crate::{
    config::Settings,
    contract::{self, env},
    engine::{self, Cli, Container, Handover, Layout, SeccompProfile, UserNamespace},
    installation::{self, Locked, Places},
    systemd,
    value::{RunnerName, Scope},
};

/// What these settings make of a verified image; under AppArmor's profile, which `confinement` may lift.
pub fn container(
    settings: &Settings,
    engine: &Cli,
    installation: &Locked,
    seccomp: &SeccompProfile,
    image: &ReadyImage,
) -> anyhow::Result<Container> {
    if image.local.layout == Layout::Foreign && settings.scope.repository().is_none() {
        return Err(installation::Error::OfARepositoryOnly { image: image.reference.to_string() }.into());
    }
    Ok(Container {
        name: settings.name.clone(),
        image: image.verified.clone(),
        image_name: image.reference.name(),
        local_id: image.local.id.clone(),
        layout: image.local.layout,
        caps: settings.caps,
        network: settings.network.clone(),
        patience: settings.patience,
        env: environment(settings, image.local.layout),
        userns: user_namespace(settings, engine, installation)?,
        handover: Handover(installation.handover.clone()),
        seccomp: seccomp.write(&installation.seccomp())?,
        unconfined: false,
        slice: None,
        slot: None,
    })
}

/// Where systemd keeps a container that no unit makes.
pub fn slice(engine: &Cli, name: &RunnerName) -> Result<Option<String>, engine::Error> {
    let has_one = systemd::is_ours_to_arrange() && engine.has_slices()?;
    Ok(has_one.then(|| systemd::slice_name(name)))
}

/// A range of ids that no other runner of ours has. Rootless podman and docker have no choice here.
fn user_namespace(
    settings: &Settings,
    engine: &Cli,
    installation: &Locked,
) -> anyhow::Result<Option<UserNamespace>> {
    if engine.program() != "podman" || !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let base = Places::standard().userns_base(installation, settings.userns_base)?;
    Ok(Some(UserNamespace { base }))
}

/// The image's environment contract, without any secret.
pub fn environment(settings: &Settings, layout: Layout) -> BTreeMap<&'static str, String> {
    let token = match layout {
        Layout::Contract => format!("{}/{}", contract::HANDOVER_MOUNT, contract::HANDOVER_TOKEN),
        Layout::Foreign => contract::FOREIGN_TOKEN.to_owned(),
    };
    let caps = &settings.caps;
    let mut variables = BTreeMap::from([
        (env::MODE, "runner".to_owned()),
        (env::TOKEN_FILE, token),
        (env::RUNNER_NAME, settings.name.to_string()),
        (env::LABELS, settings.labels.to_string()),
        (env::SANDBOX, settings.nix.sandbox.to_string()),
        (env::MAX_JOBS, settings.nix.max_jobs.to_string()),
        (env::CORES, settings.nix.cores.to_string()),
        (env::PATIENCE, settings.patience.to_string()),
        (env::CAPS, caps.variable()),
    ]);
    match &settings.scope {
        Scope::Repository(repository) => variables.extend([
            (env::OWNER, repository.owner().to_owned()),
            (env::REPOSITORY, repository.name().to_owned()),
        ]),
        Scope::Organization(organization) => {
            variables.insert(env::ORGANIZATION, organization.to_string());
        }
    }
    if let Some(group) = &settings.group {
        variables.insert(env::GROUP, group.clone());
    }
    if let Some(disk) = settings.disk {
        variables.insert(env::DISK, disk.0.to_string());
    }
    if let Some(min_free) = settings.min_free {
        variables.insert(env::MIN_FREE, min_free.0.to_string());
    }
    if let Some(cache) = settings.cache.as_ref().filter(|_| layout == Layout::Contract) {
        variables.insert(env::UPLOADS, cache.wait.to_string());
    }
    if settings.github.server.host_str() != Some("github.com") {
        variables.insert(env::SERVER_URL, settings.github.server.as_str().trim_end_matches('/').to_owned());
    }
    let more = [
        (env::EXTRA_SUBSTITUTERS, &settings.nix.extra_substituters),
        (env::EXTRA_KEYS, &settings.nix.extra_trusted_public_keys),
    ];
    variables.extend(
        more.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, value.clone())),
    );
    variables
}
