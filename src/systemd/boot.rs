//! What brings a runner back after the host's reboot.
//!
//! A systemd unit of ours verifies the image again and starts the container. When the machine is to go down it lets the
//! running job end, as long as the operator has patience: that of docker's daemon is short, and it does not start again
//! what was stopped, whatever the restart policy. Both engines' containers find the handover folder again through
//! systemd-tmpfiles,
//! because /run is empty after a reboot. No token is needed: the registration is in its volume.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Error, SPARE,
    beside::mere_slice,
    host::{remove, replace, systemctl},
    remove_timer, slice_name,
    text::path,
};
use crate::value::RunnerName;

/// What a runner needs at the next boot.
pub struct Boot<'a> {
    pub name: &'a RunnerName,
    pub handover: &'a Path,
    /// The container root's id on the host.
    pub owner: u32,
    /// How long the engine takes at most to stop it.
    pub patience: Duration,
    /// The engine's program.
    pub engine: PathBuf,
    /// Whether that has a daemon, which starts containers by itself.
    pub has_daemon: bool,
    /// Whether a pusher is started beside it.
    pub pusher: Option<String>,
    /// This very program, which verifies the image again before that start.
    pub verifier: Option<PathBuf>,
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

fn slice_path(name: &str) -> PathBuf {
    Path::new("/etc/systemd/system").join(name)
}

/// The slice of a runner's container, before there is one: what systemd makes by itself is ended as soon as the machine is to
/// go down, and every process in it.
pub fn make_slice(name: &RunnerName) -> Result<(), Error> {
    if replace(&slice_path(&slice_name(name)), &mere_slice(name.as_str()))? {
        systemctl(&["daemon-reload"])?;
    }
    Ok(())
}

/// Have the unit stand for a container that runs: at the machine's end it lets the job end.
pub fn begin(name: &RunnerName) -> Result<(), Error> {
    if unit_path(name).exists() {
        systemctl(&["start", "--no-block", &unit_name(name)])?;
    }
    Ok(())
}

impl Boot<'_> {
    /// Write what is missing or different; true when something was.
    pub fn arrange(&self) -> Result<bool, Error> {
        let mut changed = replace(&tmpfiles_path(self.name), &self.tmpfiles())?;
        let written = replace(&unit_path(self.name), &self.unit())?;
        // Looked at by itself: a crash may have come between the two.
        if written || !enabled_path(self.name).exists() {
            systemctl(&["daemon-reload"])?;
            systemctl(&["enable", "--quiet", "--no-reload", &unit_name(self.name)])?;
            changed = true;
        }
        Ok(changed)
    }

    fn tmpfiles(&self) -> String {
        let (folder, owner) = (self.handover.display(), self.owner);
        format!("# vega-builder: the handover folder of {}\nd {folder} 0700 {owner} {owner} -\n", self.name)
    }

    fn unit(&self) -> String {
        let (name, starter) = (self.name, path(&self.engine));
        let patience = (self.patience + SPARE).as_secs();
        let verify = self.verifier.as_deref().map_or_else(String::new, |program| {
            let program = path(program);
            format!("ExecCondition={program} can-start {name}\nExecStartPre={program} prepare {name}\n")
        });
        let both = self.pusher.as_ref().map_or_else(|| name.to_string(), |pusher| format!("{name} {pusher}"));
        let prove = self.verifier.as_deref().map(|program| format!("{} prove {name}", path(program)));
        let proof = prove.map_or_else(String::new, |prove| format!("ExecStartPost={prove}\n"));
        // A daemon does not start again by itself what this unit has stopped, nor what somebody else has.
        let after = if self.has_daemon { "docker.service" } else { "systemd-tmpfiles-setup.service" };
        let stop = |container: &str| {
            let (may_fail, ignore) = if self.has_daemon { ("-", "") } else { ("", "--ignore ") };
            format!("ExecStop={may_fail}{starter} stop {ignore}{container}\n")
        };
        // The pusher's own patience is short: what it does not get done in it stays queued.
        let stop = stop(name.as_str()) + &self.pusher.as_deref().map(stop).unwrap_or_default();
        format!(
            "# vega-builder: starts the runner after a reboot; `vega-builder down` removes this file\n\
             [Unit]\n\
             Description=GitHub Actions runner {name} (vega-builder)\n\
             Wants=network-online.target\n\
             After=network-online.target {after}\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             {verify}\
             ExecStart={starter} start {both}\n\
             {proof}\
             {stop}\
             TimeoutStopSec={patience}\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n"
        )
    }
}

/// Take back what [`Boot::arrange`] wrote.
pub fn forget(name: &RunnerName) -> Result<(), Error> {
    remove(&tmpfiles_path(name))?;
    remove_timer(name)?;
    remove_unit(name)?;
    let slice = slice_name(name);
    // What was set until the next boot.
    let _ = systemctl(&["revert", &slice]);
    if remove(&slice_path(&slice))? {
        systemctl(&["daemon-reload"])?;
    }
    Ok(())
}

fn remove_unit(name: &RunnerName) -> Result<(), Error> {
    let unit = unit_path(name);
    if unit.exists() {
        // It counts as active; its container is gone by now (hence its `--ignore`).
        systemctl(&["disable", "--quiet", "--no-reload", "--now", &unit_name(name)])?;
        remove(&unit)?;
        systemctl(&["daemon-reload"])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::Boot;
    use crate::value::RunnerName;

    fn boot(name: &RunnerName) -> Boot<'_> {
        Boot {
            name,
            handover: Path::new("/run/vega-builder/vega-x"),
            owner: 7,
            patience: Duration::from_secs(660),
            engine: "/usr/bin/podman".into(),
            has_daemon: false,
            pusher: Some("vega-x.pusher".to_owned()),
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
        let unit = boot(&name).unit();
        let lines: Vec<&str> = unit.lines().filter(|line| line.starts_with("Exec")).collect();
        let expected = [
            // Not one that is drained.
            "ExecCondition=/usr/local/bin/vega-builder can-start vega-x",
            "ExecStartPre=/usr/local/bin/vega-builder prepare vega-x",
            "ExecStart=/usr/bin/podman start vega-x vega-x.pusher",
            "ExecStartPost=/usr/local/bin/vega-builder prove vega-x",
            // The pusher goes on while the runner ends.
            "ExecStop=/usr/bin/podman stop --ignore vega-x",
            "ExecStop=/usr/bin/podman stop --ignore vega-x.pusher",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn docker_starts_nothing_by_itself_that_the_unit_has_stopped() {
        let name = "vega-x".parse().unwrap();
        let unit = Boot { engine: "/usr/bin/docker".into(), has_daemon: true, ..boot(&name) }.unit();
        let lines: Vec<&str> = unit.lines().filter(|line| line.starts_with("Exec")).collect();
        let expected = [
            "ExecCondition=/usr/local/bin/vega-builder can-start vega-x",
            "ExecStartPre=/usr/local/bin/vega-builder prepare vega-x",
            "ExecStart=/usr/bin/docker start vega-x vega-x.pusher",
            "ExecStartPost=/usr/local/bin/vega-builder prove vega-x",
            "ExecStop=-/usr/bin/docker stop vega-x",
            "ExecStop=-/usr/bin/docker stop vega-x.pusher",
        ];
        assert_eq!(lines, expected);
        assert!(unit.contains("After=network-online.target docker.service\n"), "{unit}");
    }
}
