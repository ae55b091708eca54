//! The unprivileged user who runs GitHub's runner, and with it every job.

use std::{
    convert::Infallible,
    env,
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use caps::CapSet;
use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::{Gid, Pid, Uid, geteuid, getuid, setgroups, setresgid, setresuid},
};

use super::{Ids, Quarters};
use crate::contract;

/// This very program: where it lies in the image, or, on a host, where it was bound to.
pub fn this_program() -> PathBuf {
    env::current_exe().unwrap_or_else(|_| contract::PROGRAM.into())
}

/// A command that `program` runs as the runner's user, in an environment of its own: nothing of PID 1's.
pub fn as_runner(quarters: &Quarters, program: impl Into<OsString>) -> Command {
    let mut command = Command::new(this_program());
    command
        .arg("as-runner")
        .args(quarters.on_host.as_ref().map(|_| "--apart"))
        .arg(quarters.ids.to_string())
        .arg("--")
        .arg(program.into())
        .env_clear();
    command
        .env("HOME", &quarters.home)
        .env("USER", &quarters.user)
        .env("LANG", "C.UTF-8")
        .env("NIX_REMOTE", "daemon");
    for name in ["PATH", "SSL_CERT_FILE", "NIX_SSL_CERT_FILE"] {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    command.current_dir(&quarters.home);
    command
}

/// A command of PID 1's own user in an environment that holds nothing that the image was told by its host.
pub fn as_root(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    command.env_clear().env("HOME", "/root").env("USER", "root").env("LANG", "C.UTF-8");
    // The store itself, not the daemon; and no settings but those of /etc/nix.
    command.env("NIX_REMOTE", "").env("NIX_USER_CONF_FILES", "/dev/null");
    for name in ["PATH", "SSL_CERT_FILE", "NIX_SSL_CERT_FILE"] {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    command.current_dir("/");
    command
}

/// The command that ends every process of the runner's user.
pub fn end_jobs(ids: Ids) -> Command {
    let mut command = Command::new(this_program());
    command.arg("end-jobs").arg(ids.to_string()).env_clear().current_dir("/").stdin(Stdio::null());
    command
}

/// Become the runner's user for good and execute `arguments`; `apart`: with a namespace of its own for what processes share
/// by number. Returns only when it fails.
pub fn become_runner(ids: Ids, apart: bool, arguments: &[OsString]) -> io::Result<Infallible> {
    let [program, rest @ ..] = arguments else {
        return Err(io::Error::other("no command to execute"));
    };
    if apart {
        unshare(CloneFlags::CLONE_NEWIPC)?;
    }
    drop_privileges(ids)?;
    Err(Command::new(program).args(rest).exec())
}

/// Become the runner's user for good and kill every process of that user but this one.
pub fn kill_everything_of(ids: Ids) -> io::Result<()> {
    if geteuid().is_root() {
        drop_privileges(ids)?;
    }
    let jobs = Uid::from_raw(ids.uid);
    if getuid() != jobs || geteuid() != jobs {
        return Err(io::Error::other("this is not the runner's user"));
    }
    kill_everything()
}

/// Kill every process of our own user but this one.
pub fn kill_everything() -> io::Result<()> {
    // This would be the end of the container, or of the host.
    if getuid().is_root() || geteuid().is_root() {
        return Err(io::Error::other("this is root, and not the runner's user"));
    }
    match kill(Pid::from_raw(-1), Signal::SIGKILL) {
        // There is nobody else.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(why) => Err(why.into()),
    }
}

/// No groups, no capability in any set, and no setuid program gives one back.
fn drop_privileges(ids: Ids) -> io::Result<()> {
    let refuse = |error: caps::errors::CapsError| io::Error::other(error.to_string());
    let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
    caps::clear(None, CapSet::Ambient).map_err(refuse)?;
    // Dropping from the bounding set needs SETPCAP, so it comes while we are root still.
    for capability in caps::read(None, CapSet::Bounding).map_err(refuse)? {
        caps::drop(None, CapSet::Bounding, capability).map_err(refuse)?;
    }
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    caps::clear(None, CapSet::Inheritable).map_err(refuse)?;
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}
