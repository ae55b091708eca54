//! The unit that makes a declared runner's container, and the files beside it.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use super::{
    Error, PusherUnit, SPARE, beside,
    host::{remove, replace, run, systemctl},
    plain, pusher_service_name, quadlet, remove_timer, slots,
    text::{path, rest},
};
use crate::{
    engine::{CANCELLING, Container, queue_volume},
    value::RunnerName,
};

/// Everything that the files say.
pub struct Unit<'a> {
    pub container: &'a Container,
    /// The engine's options for the container, the image and its name left out.
    pub options: Vec<String>,
    /// The engine's program.
    pub engine: PathBuf,
    pub is_podman: bool,
    /// Whether podman's generator makes the service of a Quadlet.
    pub is_quadlet: bool,
    /// Whether the engine puts its containers into systemd's slices.
    pub has_slices: bool,
    /// This very program.
    pub program: PathBuf,
    /// What mints registration tokens, where the operator gives it: its name, and its file.
    pub credential: Option<(&'static str, PathBuf)>,
    /// What pushes its builds, where they go to a cache.
    pub pusher: Option<PusherUnit>,
    /// How many jobs of an ephemeral runner have a container each; then no unit makes the container.
    pub slots: Option<NonZeroU32>,
}

/// The service's name is the same whoever makes it.
pub fn service_name(name: &RunnerName) -> String {
    format!("vega-builder-{name}.service")
}

/// Starts the service when a token comes.
pub fn path_name(name: &RunnerName) -> String {
    format!("vega-builder-{name}.path")
}

/// A hyphen in a slice's name is a level of the tree: so the runner's own hyphens become underscores.
pub fn slice_name(name: &RunnerName) -> String {
    format!("vegabuilder-{}.slice", name.as_str().replace('-', "_"))
}

const UNITS: &str = "/etc/systemd/system";
const QUADLETS: &str = "/etc/containers/systemd";
const TMPFILES: &str = "/etc/tmpfiles.d";

/// Where the files of a runner are, those that this host has no use for among them.
struct Places {
    container: PathBuf,
    volumes: [PathBuf; 3],
    service: PathBuf,
    pusher: PathBuf,
    slice: PathBuf,
    path: PathBuf,
    tmpfiles: PathBuf,
}

impl Places {
    fn of(name: &RunnerName) -> Self {
        let quadlet = |name: String| Path::new(QUADLETS).join(name);
        Self {
            container: quadlet(format!("vega-builder-{name}.container")),
            volumes: ["store", "runner", "queue"].map(|what| quadlet(quadlet::volume_file(name, what))),
            service: Path::new(UNITS).join(service_name(name)),
            pusher: Path::new(UNITS).join(pusher_service_name(name)),
            slice: Path::new(UNITS).join(slice_name(name)),
            path: Path::new(UNITS).join(path_name(name)),
            tmpfiles: Path::new(TMPFILES).join(format!("vega-builder-{name}.conf")),
        }
    }

    fn all(&self) -> Vec<&PathBuf> {
        let [store, runner, queue] = &self.volumes;
        let own = [&self.path, &self.container, store, runner, queue, &self.service];
        own.into_iter().chain([&self.pusher, &self.slice, &self.tmpfiles]).collect()
    }
}

impl Unit<'_> {
    fn name(&self) -> &RunnerName {
        &self.container.name
    }

    /// Every file and its text.
    pub fn files(&self) -> Vec<(PathBuf, String)> {
        let places = Places::of(self.name());
        let mut files = vec![(places.tmpfiles, beside::tmpfiles(self))];
        if self.slots.is_none() {
            files.push((places.path, beside::path_unit(self)));
        }
        if self.has_slices {
            files.push((places.slice, beside::slice(self)));
        }
        if self.slots.is_some() {
            files.push((places.service, slots::service(self)));
        } else if self.is_quadlet {
            let [store, runner, queue] = places.volumes;
            files.push((store, quadlet::volume(self, &self.container.store_volume())));
            files.push((runner, quadlet::volume(self, &self.container.runner_volume())));
            if self.pusher.is_some() {
                files.push((queue, quadlet::volume(self, &queue_volume(self.name()))));
            }
            files.push((places.container, quadlet::container(self)));
        } else {
            files.push((places.service, plain::service(self)));
        }
        // Each job's own builds are pushed beside it.
        if let Some(pusher) = self.pusher.as_ref().filter(|_| self.slots.is_none()) {
            files.push((places.pusher, pusher.service()));
        }
        files
    }

    /// Write what is missing or different, and have systemd read it; true when something was.
    pub fn write(&self) -> Result<bool, Error> {
        let (files, places) = (self.files(), Places::of(self.name()));
        if self.pusher.is_none() && places.pusher.exists() {
            // The last uploads come first.
            systemctl(&["disable", "--quiet", "--now", &pusher_service_name(self.name())])?;
        }
        let mut changed = false;
        // A Quadlet's service, say, where a plain one stood before.
        for place in places.all() {
            if !files.iter().any(|(path, _)| path == place) {
                changed |= remove(place)?;
            }
        }
        let mut replaced_pusher = false;
        for (path, text) in &files {
            let replaced = replace(path, text)?;
            if *path == places.pusher {
                replaced_pusher = replaced;
            } else {
                changed |= replaced;
            }
        }
        let tmpfiles = places.tmpfiles.display().to_string();
        run("systemd-tmpfiles", &["--create", &tmpfiles])?;
        systemctl(&["daemon-reload"])?;
        if self.slots.is_none() {
            systemctl(&["enable", "--quiet", "--now", &path_name(self.name())])?;
        }
        if !self.is_quadlet || self.slots.is_some() {
            systemctl(&["enable", "--quiet", &service_name(self.name())])?;
        }
        if self.pusher.is_some() && self.slots.is_none() {
            // What it is at is in its queue: the new one goes on with it.
            let pusher = pusher_service_name(self.name());
            systemctl(&["enable", "--quiet", &pusher])?;
            if replaced_pusher {
                systemctl(&["kill", "--signal=SIGINT", &pusher])?;
            }
            systemctl(&["start", "--no-block", &pusher])?;
        }
        Ok(changed)
    }

    /// The part of the service that is the same whatever makes its container.
    pub(super) fn service(&self) -> String {
        let (name, program) = (self.name(), path(&self.program));
        let patience = (self.container.patience.0 + CANCELLING + SPARE).as_secs();
        let engine = path(&self.engine);
        let credential = self
            .credential
            .as_ref()
            .map_or_else(String::new, |(name, file)| format!("LoadCredential={name}:{}\n", rest(file)));
        format!(
            "{credential}\
             ExecCondition={program} can-start {name}\n\
             ExecStartPre={program} prepare {name}\n\
             ExecStartPost={program} prove {name}\n\
             # A changed unit does not end a job: the new image is verified, then the runner ends after its job.\n\
             ExecReload={program} prepare --ahead {name}\n\
             ExecReload={engine} kill --signal=HUP {name}\n\
             ExecStop=-{engine} stop {name}\n\
             # The first start downloads an image.\n\
             TimeoutStartSec=infinity\n\
             TimeoutStopSec={patience}\n\
             Restart=always\n\
             RestartSec=5\n\
             RestartSteps=6\n\
             RestartMaxDelaySec=300\n\
             LimitNOFILE=1048576\n"
        )
    }

    /// The head of the service.
    pub(super) fn head(&self) -> String {
        let name = self.name();
        format!(
            "# vega-builder: written by `vega-builder install`, removed by `vega-builder uninstall {name}`\n\
             [Unit]\n\
             Description=GitHub Actions runner {name} (vega-builder)\n\
             Wants=network-online.target{pusher}\n\
             After=network-online.target systemd-tmpfiles-setup.service\n\
             # No endless loop: after ten starts in an hour it stays down and says why.\n\
             StartLimitIntervalSec=1h\n\
             StartLimitBurst=10\n",
            pusher = self
                .pusher
                .as_ref()
                .filter(|_| self.slots.is_none())
                .map_or_else(String::new, |_| format!(" {}", pusher_service_name(name)))
        )
    }
}

/// Take everything back that [`Unit::write`] wrote.
pub fn remove_all(name: &RunnerName) -> Result<bool, Error> {
    let places = Places::of(name);
    let service = service_name(name);
    let units = [&places.path, &places.service, &places.pusher];
    for unit in units.into_iter().filter(|unit| unit.exists()) {
        let unit = unit.file_name().unwrap_or_default().to_string_lossy().into_owned();
        systemctl(&["disable", "--quiet", &unit])?;
    }
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::{PusherUnit, Unit, slice_name};
    use crate::engine::for_test;

    fn text(is_podman: bool, is_quadlet: bool) -> String {
        with_slots(is_podman, is_quadlet, None)
    }

    fn with_slots(is_podman: bool, is_quadlet: bool, slots: Option<NonZeroU32>) -> String {
        let (container, options) = for_test(is_podman);
        let unit = Unit {
            container: &container,
            options,
            engine: if is_podman { "/usr/bin/podman" } else { "/usr/bin/docker" }.into(),
            is_podman,
            is_quadlet,
            has_slices: true,
            slots,
            program: "/opt/our programs/vega-builder".into(),
            credential: Some(("github-token", "/etc/vega-builder/github-token".into())),
            pusher: Some(PusherUnit {
                name: container.name.clone(),
                program: "/opt/our programs/vega-builder".into(),
                store: "/var/lib/volumes/heavy-store/_data/store".into(),
                queue: "/var/lib/volumes/heavy-queue/_data".into(),
                settings: "/var/lib/vega-builder/heavy/cache.json".into(),
                key: Some("/etc/vega-builder/cache key".into()),
                login: Some("/root/.netrc".into()),
                folder: is_podman.then(|| "/srv/cache".into()),
                patience: container.patience.0,
            }),
        };
        let files = unit.files();
        let all: Vec<_> =
            files.iter().map(|(path, text)| format!("==> {} <==\n{text}\n", path.display())).collect();
        all.concat()
    }

    #[test]
    fn a_quadlet_and_what_stands_around_it() {
        insta::assert_snapshot!(text(true, true));
    }

    #[test]
    fn a_service_for_a_podman_without_quadlets() {
        insta::assert_snapshot!(text(true, false));
    }

    #[test]
    fn a_service_that_keeps_an_ephemeral_runners_slots() {
        insta::assert_snapshot!(with_slots(true, true, NonZeroU32::new(3)));
    }

    #[test]
    fn a_service_for_docker() {
        insta::assert_snapshot!(text(false, false));
    }

    #[test]
    fn a_runners_hyphens_make_no_tree_of_slices() {
        assert_eq!(slice_name(&"vega-heavy.builds".parse().unwrap()), "vegabuilder-vega_heavy.builds.slice");
    }
}
