//! This host's systemd: whether it is there, its files, and its own command.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::Error;
use crate::secrecy;

/// Whether this host is one whose boot we can join: systemd runs it, and we may write its units.
pub fn is_ours_to_arrange() -> bool {
    Path::new("/run/systemd/system").is_dir() && nix::unistd::geteuid().is_root()
}

/// Why not, and what the person does instead; `again` is what to type after a reboot.
pub fn why_not(again: &str) -> String {
    if Path::new("/run/systemd/system").is_dir() {
        format!(
            "without root's rights a reboot or a logout ends it: type `loginctl enable-linger`, and {again} after a reboot"
        )
    } else {
        format!("this host's boot is not ours to arrange: after a reboot, type {again}")
    }
}

/// A program's full path, as a unit wants it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Whether podman's generator turns Quadlets into units here.
pub fn has_quadlet() -> bool {
    [
        "/usr/lib/systemd/system-generators",
        "/usr/local/lib/systemd/system-generators",
        "/etc/systemd/system-generators",
    ]
    .iter()
    .any(|folder| Path::new(folder).join("podman-system-generator").exists())
}

/// Write a file whole when it is missing or different; true when it was.
pub fn replace(path: &Path, text: &str) -> Result<bool, Error> {
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(false);
    }
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let file =
            tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(folder)?;
        fs::write(file.path(), text)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error).map(drop)
    };
    write().map(|()| true).map_err(|why| Error::File { path: path.to_owned(), why })
}

/// Remove a file; true when it was there.
pub fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(Error::File { path: path.to_owned(), why }),
    }
}

pub fn systemctl(arguments: &[&str]) -> Result<(), Error> {
    run("systemctl", arguments)
}

/// Have a unit, whether it runs or not, be this way until the next boot.
pub fn set_properties(unit: &str, assignments: &[&str]) -> Result<(), Error> {
    systemctl(&[&["set-property", "--runtime", unit], assignments].concat())
}

/// One property of a unit, as `systemctl show` has it; empty when systemd cannot be asked.
pub fn property(unit: &str, name: &str) -> String {
    let output = secrecy::command("systemctl").args(["show", "--value", "--property", name, unit]).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The last line that a unit wrote to the journal since its last start.
pub fn journal(unit: &str) -> String {
    let arguments = ["--unit", unit, "--lines", "1", "--output", "cat", "--no-pager", "--quiet"];
    let output = secrecy::command("journalctl").args(arguments).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// One of systemd's own programs.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), Error> {
    let failed =
        |why: String| Error::Systemctl { command: format!("{program} {}", arguments.join(" ")), why };
    let output = secrecy::command(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|why| failed(why.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
