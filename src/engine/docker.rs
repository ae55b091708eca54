use super::{Container, Engine};

/// Docker, through its daemon.
pub struct Docker;

impl Engine for Docker {
    fn program(&self) -> &'static str {
        "docker"
    }

    fn cgroup_manager(&self) -> &'static str {
        "{{.CgroupDriver}}"
    }

    fn volumes_folder(&self) -> &'static str {
        "{{.DockerRootDir}}/volumes"
    }

    fn isolation(&self, container: &Container) -> Vec<String> {
        vec![
            "--security-opt=systempaths=unconfined".to_owned(),
            format!("--security-opt=seccomp={}", container.seccomp.display()),
        ]
    }
}
