use super::{Container, Engine, UserNamespace};

/// Podman, with root's rights or a user's own.
pub struct Podman;

impl Engine for Podman {
    fn program(&self) -> &'static str {
        "podman"
    }

    fn isolation(&self, container: &Container) -> Vec<String> {
        let mut options = vec![
            // Nix mounts a /proc of its own in the build sandbox, which the kernel refuses while parts of
            // ours are masked.
            "--security-opt=unmask=/proc/*".to_owned(),
            format!("--security-opt=seccomp={}", container.seccomp.display()),
        ];
        // A fixed range, not `--userns=auto`: the volumes' owners must stay the same when the container is
        // made anew. A rootless podman is in a user namespace already.
        if let Some(UserNamespace { base }) = container.userns {
            let size = UserNamespace::SIZE;
            options.extend([format!("--uidmap=0:{base}:{size}"), format!("--gidmap=0:{base}:{size}")]);
        }
        options
    }

    /// The id is the digest of the image's configuration, which the verified manifest names.
    fn image_argument(&self, container: &Container) -> String {
        container.image_id.hex().to_owned()
    }
}
