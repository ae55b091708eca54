//! The files of one runner's units: where they are, how they come there, and how they go.

use std::path::{Path, PathBuf};

use super::{
    Error,
    host::{remove, replace, run, systemctl},
    path_name, pusher_service_name, quadlet, remove_timer, service_name, slice_name,
};
use crate::value::RunnerName;

const UNITS: &str = "/etc/systemd/system";
const QUADLETS: &str = "/etc/containers/systemd";
const TMPFILES: &str = "/etc/tmpfiles.d";
const SYSUSERS: &str = "/etc/sysusers.d";

/// Where the files of a runner are, those that this host has no use for among them.
pub(super) struct Places {
    pub container: PathBuf,
    pub volumes: [PathBuf; 3],
    pub service: PathBuf,
    pub pusher: PathBuf,
    pub slice: PathBuf,
    pub path: PathBuf,
    pub tmpfiles: PathBuf,
    pub sysusers: PathBuf,
}

impl Places {
    pub fn of(name: &RunnerName) -> Self {
        let quadlet = |name: String| Path::new(QUADLETS).join(name);
        Self {
            container: quadlet(format!("vega-builder-{name}.container")),
            volumes: ["store", "runner", "queue"].map(|what| quadlet(quadlet::volume_file(name, what))),
            service: Path::new(UNITS).join(service_name(name)),
            pusher: Path::new(UNITS).join(pusher_service_name(name)),
            slice: Path::new(UNITS).join(slice_name(name)),
            path: Path::new(UNITS).join(path_name(name)),
            tmpfiles: Path::new(TMPFILES).join(format!("vega-builder-{name}.conf")),
            sysusers: Path::new(SYSUSERS).join(format!("vega-builder-{name}.conf")),
        }
    }

    fn all(&self) -> Vec<&PathBuf> {
        let [store, runner, queue] = &self.volumes;
        let own = [&self.path, &self.container, store, runner, queue, &self.service];
        own.into_iter().chain([&self.pusher, &self.slice, &self.tmpfiles, &self.sysusers]).collect()
    }
}

/// What is to be there, and what systemd is to start at boot.
pub(super) struct Files<'a> {
    pub name: &'a RunnerName,
    /// Every file and its text.
    pub texts: Vec<(PathBuf, String)>,
    /// Whether the service is one that systemd enables; a Quadlet's is not.
    pub is_enabled: bool,
}

impl Files<'_> {
    /// Write what is missing or different, and have systemd read it; true when something was.
    pub fn write(&self) -> Result<bool, Error> {
        let (files, places) = (&self.texts, Places::of(self.name));
        let has = |place: &PathBuf| files.iter().any(|(path, _)| path == place);
        if !has(&places.pusher) && places.pusher.exists() {
            // The last uploads come first.
            systemctl(&["disable", "--quiet", "--no-reload", "--now", &pusher_service_name(self.name)])?;
        }
        let mut changed = false;
        // A Quadlet's service, say, where a plain one stood before.
        for place in places.all() {
            if !has(place) {
                changed |= remove(place)?;
            }
        }
        let mut replaced_pusher = false;
        for (path, text) in files {
            let replaced = replace(path, text)?;
            if *path == places.pusher {
                replaced_pusher = replaced;
            } else {
                changed |= replaced;
            }
        }
        for (program, file) in
            [("systemd-sysusers", &places.sysusers), ("systemd-tmpfiles", &places.tmpfiles)]
        {
            if has(file) {
                let flag = (program == "systemd-tmpfiles").then_some("--create");
                let file = file.display().to_string();
                run(program, &flag.into_iter().chain([file.as_str()]).collect::<Vec<_>>())?;
            }
        }
        let (path, pusher) = (path_name(self.name), pusher_service_name(self.name));
        let service = service_name(self.name);
        let at_boot =
            [(has(&places.path), &path), (self.is_enabled, &service), (has(&places.pusher), &pusher)];
        at_boot_of("enable", at_boot.iter().filter(|(is, _)| *is).map(|(_, unit)| unit.as_str()))?;
        systemctl(&["daemon-reload"])?;
        if has(&places.path) {
            systemctl(&["start", &path])?;
        }
        if has(&places.pusher) {
            // What it is at is in its queue: the new one goes on with it.
            if replaced_pusher {
                systemctl(&["kill", "--signal=SIGINT", &pusher])?;
            }
            systemctl(&["start", "--no-block", &pusher])?;
        }
        Ok(changed)
    }
}

/// Take everything back that was written.
pub fn remove_all(name: &RunnerName) -> Result<bool, Error> {
    let places = Places::of(name);
    let service = service_name(name);
    let units = [&places.path, &places.service, &places.pusher].into_iter().filter(|unit| unit.exists());
    at_boot_of("disable", units.filter_map(|unit| unit.file_name()?.to_str()))?;
    // What was set until the next boot.
    let _ = systemctl(&["revert", &slice_name(name)]);
    let mut removed = remove_timer(name)?;
    for place in places.all() {
        removed |= remove(place)?;
    }
    if removed {
        systemctl(&["daemon-reload"])?;
        // One that failed is remembered by its name.
        let _ = systemctl(&["reset-failed", &service]);
        let _ = systemctl(&["reset-failed", &pusher_service_name(name)]);
    }
    Ok(removed)
}

/// Have the next boot start these units, or no longer do so; whoever asks has systemd read its files once, afterwards.
fn at_boot_of<'a>(verb: &str, units: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let units: Vec<&str> = units.collect();
    if units.is_empty() {
        return Ok(());
    }
    systemctl(&[&[verb, "--quiet", "--no-reload"], units.as_slice()].concat())
}
