use super::{Cli, Container, Engine, UserNamespace};
use crate::value::RunnerName;

/// Podman, with root's rights or a user's own.
pub struct Podman;

impl Engine for Podman {
    fn program(&self) -> &'static str {
        "podman"
    }

    fn cgroup_manager(&self) -> &'static str {
        "{{.Host.CgroupManager}}"
    }

    fn volumes_folder(&self) -> &'static str {
        "{{.Store.VolumePath}}"
    }

    /// Under SELinux the folder gets this one container's label, or its root could not enter it.
    fn mount_options(&self) -> &'static str {
        ",relabel=private"
    }

    fn isolation(&self, container: &Container) -> Vec<String> {
        let mut options = vec![
            // Nix mounts a /proc of its own in the build sandbox, which the kernel refuses while parts of
            // ours are masked.
            "--security-opt=unmask=/proc/*".to_owned(),
            format!("--security-opt=seccomp={}", container.seccomp.display()),
            // Whatever an administrator's containers.conf says: nothing of the host's environment goes in, where a
            // token or a proxy's password may be.
            "--env-host=false".to_owned(),
            "--http-proxy=false".to_owned(),
        ];
        // A fixed range, not `--userns=auto`: the volumes' owners must stay the same when the container is
        // made anew. A rootless podman is in a user namespace already.
        if let Some(UserNamespace { base }) = container.userns {
            let size = UserNamespace::SIZE;
            options.extend([format!("--uidmap=0:{base}:{size}"), format!("--gidmap=0:{base}:{size}")]);
        }
        options
    }

    /// Podman restarts from the process that tidies up behind a container, some time after its end; tidying up
    /// here does it at once, or does nothing.
    fn settle(&self, cli: &Cli, name: &RunnerName) {
        let _ = cli.output(&["container", "cleanup", name.as_str()]);
    }
}
