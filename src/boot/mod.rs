//! What brings a runner back after the host's reboot.
//!
//! docker's daemon starts its `unless-stopped` containers itself; podman has no daemon, so a systemd unit of ours
//! verifies the image again and starts the container. Both find the handover folder again through systemd-tmpfiles,
//! because /run is empty after a reboot. No token is needed: the registration is in its volume.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{secrecy, value::RunnerName};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be written: {why}; run this command with sudo", .path.display())]
    File { path: PathBuf, why: std::io::Error },
    #[error("`{command}` failed: {why}; see `systemctl status` and `journalctl -b`")]
    Systemctl { command: String, why: String },
}

/// What a runner needs at the next boot.
pub struct Boot<'a> {
    pub name: &'a RunnerName,
    pub handover: &'a Path,
    /// The container root's id on the host.
    pub owner: u32,
    /// `Some`: the engine has no daemon that starts containers, and this is its program.
    pub starter: Option<PathBuf>,
    /// This very program, which verifies the image again before that start.
    pub verifier: Option<PathBuf>,
}

/// Whether this host is one whose boot we can join: systemd runs it, and we may write its units.
pub fn is_ours_to_arrange() -> bool {
    Path::new("/run/systemd/system").is_dir() && nix::unistd::geteuid().is_root()
}

/// Why not, and what the person does instead.
pub fn why_not() -> &'static str {
    if Path::new("/run/systemd/system").is_dir() {
        "without root's rights a reboot or a logout ends it: type `loginctl enable-linger`, and this command again after a reboot"
    } else {
        "this host's boot is not ours to arrange: after a reboot, run this command again"
    }
}

/// A program's full path, as a unit wants it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn tmpfiles_path(name: &RunnerName) -> PathBuf {
    format!("/etc/tmpfiles.d/vega-builder-{name}.conf").into()
}

fn unit_name(name: &RunnerName) -> String {
    format!("vega-builder-{name}.service")
}

fn unit_path(name: &RunnerName) -> PathBuf {
    Path::new("/etc/systemd/system").join(unit_name(name))
}

/// Where systemd notes that a unit is started at boot.
fn enabled_path(name: &RunnerName) -> PathBuf {
    Path::new("/etc/systemd/system/multi-user.target.wants").join(unit_name(name))
}

impl Boot<'_> {
    /// Write what is missing or different; true when something was.
    pub fn arrange(&self) -> Result<bool, Error> {
        let mut changed = replace(&tmpfiles_path(self.name), &self.tmpfiles())?;
        match &self.starter {
            Some(starter) => {
                let written = replace(&unit_path(self.name), &self.unit(starter))?;
                // Looked at by itself: a crash may have come between the two.
                if written || !enabled_path(self.name).exists() {
                    systemctl(&["daemon-reload"])?;
                    systemctl(&["enable", "--quiet", &unit_name(self.name)])?;
                    changed = true;
                }
            }
            None => remove_unit(self.name)?,
        }
        Ok(changed)
    }

    fn tmpfiles(&self) -> String {
        let (folder, owner) = (self.handover.display(), self.owner);
        format!("# vega-builder: the handover folder of {}\nd {folder} 0700 {owner} {owner} -\n", self.name)
    }

    fn unit(&self, starter: &Path) -> String {
        let (name, starter) = (self.name, word(starter));
        let verify = self
            .verifier
            .as_deref()
            .map_or_else(String::new, |program| format!("ExecStartPre={} prepare {name}\n", word(program)));
        format!(
            "# vega-builder: starts the runner after a reboot; `vega-builder down` removes this file\n\
             [Unit]\n\
             Description=GitHub Actions runner {name} (vega-builder)\n\
             Wants=network-online.target\n\
             After=network-online.target systemd-tmpfiles-setup.service\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             {verify}\
             ExecStart={starter} start {name}\n\
             ExecStop={starter} stop {name}\n\
             TimeoutStopSec=120\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n"
        )
    }
}

/// A path as one word of a unit's command (systemd.service(5), "Command lines").
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$"))
}

/// Take back what [`Boot::arrange`] wrote.
pub fn forget(name: &RunnerName) -> Result<(), Error> {
    let tmpfiles = tmpfiles_path(name);
    if tmpfiles.exists() {
        fs::remove_file(&tmpfiles).map_err(|why| Error::File { path: tmpfiles, why })?;
    }
    remove_unit(name)
}

fn remove_unit(name: &RunnerName) -> Result<(), Error> {
    let unit = unit_path(name);
    if unit.exists() {
        // After a reboot it counts as active; its container is gone by now.
        systemctl(&["disable", "--quiet", "--now", &unit_name(name)])?;
        fs::remove_file(&unit).map_err(|why| Error::File { path: unit, why })?;
        systemctl(&["daemon-reload"])?;
    }
    Ok(())
}

fn replace(path: &Path, text: &str) -> Result<bool, Error> {
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(false);
    }
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        fs::write(file.path(), text)?;
        file.persist(path).map_err(|error| error.error).map(drop)
    };
    write().map(|()| true).map_err(|why| Error::File { path: path.to_owned(), why })
}

fn systemctl(arguments: &[&str]) -> Result<(), Error> {
    let failed =
        |why: String| Error::Systemctl { command: format!("systemctl {}", arguments.join(" ")), why };
    let output = secrecy::command("systemctl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|why| failed(why.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Boot, word};
    use crate::value::RunnerName;

    fn boot(name: &RunnerName) -> Boot<'_> {
        Boot {
            name,
            handover: Path::new("/run/vega-builder/vega-x"),
            owner: 7,
            starter: None,
            verifier: Some("/usr/local/bin/vega-builder".into()),
        }
    }

    #[test]
    fn the_folder_comes_back_0700_for_the_containers_root() {
        let name = "vega-x".parse().unwrap();
        assert!(boot(&name).tmpfiles().ends_with("d /run/vega-builder/vega-x 0700 7 7 -\n"));
    }

    #[test]
    fn the_unit_verifies_before_it_starts() {
        let name = "vega-x".parse().unwrap();
        let unit = boot(&name).unit(Path::new("/usr/bin/podman"));
        let lines: Vec<&str> = unit.lines().filter(|line| line.starts_with("ExecStart")).collect();
        let expected = [
            "ExecStartPre=\"/usr/local/bin/vega-builder\" prepare vega-x",
            "ExecStart=\"/usr/bin/podman\" start vega-x",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        assert_eq!(word(Path::new("/a b/50%/$x")), "\"/a b/50%%/$$x\"");
    }
}
