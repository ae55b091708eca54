//! `host-runner`: what a unit starts where a runner has no container.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    env,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::Context as _;
use nix::sys::prctl;

use super::steps::{container::environment, declared::Declared};
use crate::{
    contract::env as names,
    engine::Layout,
    host::{Folders, JobsUser, World, unpacked},
    installation::{Installation, Places},
};

/// Supervise a runner on the host itself, as PID 1 does in its image
///
/// The unit's ExecStart. In a mount namespace of its own it gives the supervisor and the jobs what an image has, and becomes
/// the supervisor.
#[derive(Debug, clap::Args)]
pub struct HostRunner {
    #[arg(value_name = "NAME")]
    runner: String,
}

/// Where a host has programs, Nix's among them.
const PATH: [&str; 8] = [
    "/nix/var/nix/profiles/default/bin",
    "/run/current-system/sw/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];
/// What is ours of systemd's own words to this process: where it listens, and where the certificates are.
const PASSED_ON: [&str; 3] = ["NOTIFY_SOCKET", "SSL_CERT_FILE", "NIX_SSL_CERT_FILE"];

impl HostRunner {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let installation = Places::standard().find(Some(&self.runner))?;
        match become_supervisor(&installation)? {}
    }
}

fn become_supervisor(installation: &Installation) -> anyhow::Result<Infallible> {
    let declared = Declared::read(installation)?;
    let runner = declared.settings.host.as_ref().context("it is not declared to be on the host itself")?;
    // As it is at this very moment, and nothing that a link leads to in the next.
    let runner = unpacked(runner)?;
    let user = JobsUser::of(&installation.name);
    let world = World {
        folders: Folders(installation.state.clone()),
        handover: &installation.handover,
        runner: &runner,
        user: &user.name,
        ids: user.ids()?,
    };
    world.prepare()?;
    let mut variables = environment(&declared.settings, Layout::Contract);
    // Whoever loses their parent is ours to bury.
    prctl::set_child_subreaper(true)?;
    let (program, runner) = world.enter()?;
    variables.extend(in_world(&world, &runner));
    let passed_on = PASSED_ON.iter().filter_map(|name| Some((*name, env::var_os(name)?)));
    let mut command = Command::new(program);
    command.arg("entrypoint").env_clear().envs(&variables).envs(passed_on);
    Err(command.exec()).context("the supervisor")
}

/// What an image says of itself, and a host does not.
fn in_world(world: &World<'_>, runner: &Path) -> BTreeMap<&'static str, String> {
    let path = env::var("PATH").unwrap_or_default();
    let path = PATH.into_iter().filter(|folder| Path::new(folder).is_dir()).chain([path.as_str()]);
    BTreeMap::from([
        (names::RUNNER_DIST, runner.display().to_string()),
        (names::HOST_FOLDER, world.folders.0.display().to_string()),
        (names::HOST_USER, format!("{}:{}", world.user, world.ids)),
        ("PATH", path.filter(|folder| !folder.is_empty()).collect::<Vec<_>>().join(":")),
        ("HOME", "/root".to_owned()),
    ])
}
