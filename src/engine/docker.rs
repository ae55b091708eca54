use super::{Container, Engine};

/// Docker, through its daemon.
pub struct Docker;

impl Engine for Docker {
    fn program(&self) -> &'static str {
        "docker"
    }

    fn isolation(&self, container: &Container) -> Vec<String> {
        vec![
            "--security-opt=systempaths=unconfined".to_owned(),
            format!("--security-opt=seccomp={}", container.seccomp.display()),
        ]
    }

    /// Docker mounts images only from version 28 on: a one-shot container seeds the store instead.
    fn seed_mount(&self, _: &Container) -> Vec<String> {
        vec![]
    }
}
