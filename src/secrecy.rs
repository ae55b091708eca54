//! What keeps a process that holds a token from leaking it by accident.

use std::process::Command;

use nix::sys::{
    prctl::set_dumpable,
    resource::{Resource, setrlimit},
};

/// No core dump, and no look into our memory or /proc files by other processes of the same user.
///
/// Both can only fail where the kernel forbids even that; the token's other walls stand all the same.
pub fn harden() {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = set_dumpable(false);
}

/// Where people keep a GitHub token, or another login; whoever needs it has read it before another program starts.
const SECRET_VARIABLES: [&str; 7] = [
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    // The address of a cache may have a login in it.
    "VEGA_BUILDER_CACHE_TO",
    // With these a job gets itself an identity.
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
];

/// What systemd told this process alone: a one-shot container must not say in our unit's name that it is ready, nor
/// know where the unit's credentials lie.
const UNIT_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "PODMAN_SYSTEMD_UNIT"];

/// A command for another program, without the secrets of our environment. An engine hands its whole
/// environment to helpers that live as long as a container does (podman's conmon).
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for variable in SECRET_VARIABLES.into_iter().chain(UNIT_VARIABLES) {
        command.env_remove(variable);
    }
    command
}
