//! The unit that makes a declared runner's container, and the files beside it.

use std::path::PathBuf;

use super::{
    Error, PusherUnit, RESTARTS, SPARE, Slots, Writer, beside,
    files::{Files, Places},
    plain, pusher_service_name, quadlet, slots,
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
    pub slots: Option<Slots>,
}

/// The service's name is the same whoever makes it.
pub fn service_name(name: &RunnerName) -> String {
    format!("vega-builder-{name}.service")
}

/// Starts the service when a token comes.
pub fn path_name(name: &RunnerName) -> String {
    format!("vega-builder-{name}.path")
}

/// A hyphen in a slice's name is a level of the tree: so the runner's own hyphens become underscores. A level above would
/// be ended as soon as the machine is to go down, and whatever is below with it.
pub fn slice_name(name: &RunnerName) -> String {
    format!("vegabuilder_{}.slice", name.as_str().replace('-', "_"))
}

impl Unit<'_> {
    fn name(&self) -> &RunnerName {
        &self.container.name
    }

    /// Every file and its text.
    pub fn files(&self) -> Vec<(PathBuf, String)> {
        let (name, handover) = (self.name(), self.container.handover.0.as_path());
        let places = Places::of(name);
        let owner = self.container.userns.map_or(0, |userns| userns.base);
        let mut files = vec![(places.tmpfiles, beside::tmpfiles(name, handover, owner))];
        if self.slots.is_none() {
            files.push((places.path, beside::path_unit(name, handover)));
        }
        if self.has_slices {
            files.push((places.slice, beside::slice(name, &self.container.caps, self.slots)));
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
        let is_enabled = !self.is_quadlet || self.slots.is_some();
        Files { name: self.name(), texts: self.files(), is_enabled }.write()
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
             {RESTARTS}\
             LimitNOFILE=1048576\n"
        )
    }

    /// The head of the service.
    pub(super) fn head(&self) -> String {
        head(self.name(), Writer::Install, self.pusher.is_some() && self.slots.is_none())
    }
}

/// The head of a runner's service.
pub(super) fn head(name: &RunnerName, writer: Writer, has_pusher: bool) -> String {
    format!(
        "{written}\
             [Unit]\n\
             Description=GitHub Actions runner {name} (vega-builder)\n\
             Wants=network-online.target{pusher}\n\
             After=network-online.target systemd-tmpfiles-setup.service\n\
             # No endless loop: after ten starts in an hour it stays down and says why.\n\
             StartLimitIntervalSec=1h\n\
             StartLimitBurst=10\n",
        written = writer.line(name),
        pusher = if has_pusher { format!(" {}", pusher_service_name(name)) } else { String::new() },
    )
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::{PusherUnit, Slots, Unit, Writer, slice_name};
    use crate::{config::JobStore, engine::for_test};

    fn text(is_podman: bool, is_quadlet: bool) -> String {
        with_slots(is_podman, is_quadlet, None)
    }

    fn with_slots(is_podman: bool, is_quadlet: bool, slots: Option<Slots>) -> String {
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
                writer: Writer::Install,
                hidden: Vec::new(),
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
        insta::assert_snapshot!(with_slots(true, true, Slots::of(NonZeroU32::new(3), JobStore::Warm)));
    }

    #[test]
    fn a_service_for_docker() {
        insta::assert_snapshot!(text(false, false));
    }

    #[test]
    fn a_runners_hyphens_make_no_tree_of_slices() {
        assert_eq!(slice_name(&"vega-heavy.builds".parse().unwrap()), "vegabuilder_vega_heavy.builds.slice");
    }
}
