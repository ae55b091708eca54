//! The runner as a service of its own, where no Quadlet is: docker, and podman before 5.0.

use super::{
    Unit, slice_name,
    text::{path, word},
};
use crate::engine::local_name;

pub fn service(unit: &Unit<'_>) -> String {
    let name = &unit.container.name;
    let mut run = vec![path(&unit.engine), "run".to_owned(), format!("--name={name}"), "--rm".to_owned()];
    run.push("--pull=never".to_owned());
    let kind = if unit.is_podman {
        // As podman's own Quadlet does: its monitor is the service's main process.
        let more =
            ["--replace", "--detach", "--cgroups=enabled", "--sdnotify=container", "--log-driver=journald"];
        run.extend(more.map(str::to_owned));
        "Type=notify\nNotifyAccess=all\nEnvironment=PODMAN_SYSTEMD_UNIT=%n\nKillMode=mixed\nDelegate=yes\n"
    } else {
        "Type=exec\n"
    };
    if unit.has_slices {
        run.push(format!("--cgroup-parent={}", slice_name(name)));
    }
    run.extend(unit.options.iter().map(|option| word(option)));
    run.push(local_name(name));
    let after = if unit.is_podman { "" } else { "Requires=docker.service\nAfter=docker.service\n" };
    format!(
        "{head}{after}\n\
         [Service]\n\
         {kind}{service}\
         ExecStopPost=-{engine} rm --force {name}\n\
         ExecStart={run}\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        head = unit.head(),
        service = unit.service(),
        engine = path(&unit.engine),
        run = run.join(" \\\n  "),
    )
}
