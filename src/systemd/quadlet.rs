//! The runner as a Quadlet (podman-systemd.unit(5)): podman's generator makes the service of it.

use super::{Unit, slice_name, text::word};
use crate::{engine::local_name, value::RunnerName};

/// Options of `podman run` that Quadlet has a key for since podman 5.0; all others go through as they are.
const KEYS: [(&str, &str); 14] = [
    ("--hostname=", "HostName"),
    ("--label=", "Label"),
    ("--env=", "Environment"),
    ("--network=", "Network"),
    ("--pids-limit=", "PidsLimit"),
    ("--stop-timeout=", "StopTimeout"),
    ("--uidmap=", "UIDMap"),
    ("--gidmap=", "GIDMap"),
    ("--security-opt=unmask=", "Unmask"),
    ("--security-opt=seccomp=", "SeccompProfile"),
    ("--cap-drop=", "DropCapability"),
    ("--cap-add=", "AddCapability"),
    ("--volume=", "Volume"),
    ("--mount=", "Mount"),
];

pub fn volume_file(name: &RunnerName, what: &str) -> String {
    format!("vega-builder-{name}-{what}.volume")
}

pub fn volume(unit: &Unit<'_>, volume: &str) -> String {
    let name = &unit.container.name;
    format!(
        "# vega-builder\n\
         [Volume]\n\
         VolumeName={volume}\n\
         Label=dev.vega.builder.instance={name}\n"
    )
}

pub fn container(unit: &Unit<'_>) -> String {
    let name = &unit.container.name;
    let options: String = unit.options.iter().map(|option| line(option, name)).collect();
    format!(
        "{head}\n\
         [Container]\n\
         ContainerName={name}\n\
         # The local name of the image that ExecStartPre= verified; nothing is ever pulled for it.\n\
         Image={image}\n\
         Pull=never\n\
         # Up is what listens for jobs.\n\
         Notify=true\n\
         LogDriver=journald\n\
         CgroupsMode=enabled\n\
         PodmanArgs=--cgroup-parent={slice}\n\
         {options}\n\
         [Service]\n\
         {service}\n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        head = unit.head(),
        image = local_name(name),
        slice = slice_name(name),
        service = unit.service(),
    )
}

fn line(option: &str, name: &RunnerName) -> String {
    if option == "--security-opt=no-new-privileges" {
        return "NoNewPrivileges=true\n".to_owned();
    }
    let known = KEYS.iter().find_map(|(prefix, key)| Some((*key, option.strip_prefix(prefix)?)));
    match known {
        // A volume's unit in the place of its name.
        Some(("Volume", value)) => match value.split_once(':') {
            Some((volume, place)) => {
                let ours =
                    ["store", "runner", "queue"].into_iter().find(|what| volume == format!("{name}-{what}"));
                let volume = ours.map_or_else(|| volume.to_owned(), |what| volume_file(name, what));
                format!("Volume={}\n", word(&format!("{volume}:{place}")))
            }
            None => format!("Volume={}\n", word(value)),
        },
        Some((key, value)) => format!("{key}={}\n", word(value)),
        None => format!("PodmanArgs={}\n", word(option)),
    }
}
