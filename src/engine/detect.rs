use std::{env, os::unix::fs::PermissionsExt as _, sync::Arc};

use super::{Cli, Error, docker::Docker, podman::Podman};

/// The engine that is asked for, or podman before docker; `None` means whichever is installed.
pub fn detect(wanted: Option<&str>) -> Result<Cli, Error> {
    let (podman, docker) = (installed("podman"), installed("docker"));
    match wanted {
        Some("podman") if !podman => Err(Error::NotInstalled { engine: "podman", package: "podman" }),
        Some("docker") if !docker => Err(Error::NotInstalled { engine: "docker", package: "docker.io" }),
        Some("docker") => Ok(Cli::new(Arc::new(Docker))),
        Some(_) => Ok(Cli::new(Arc::new(Podman))),
        None if podman => Ok(Cli::new(Arc::new(Podman))),
        None if docker => Ok(Cli::new(Arc::new(Docker))),
        None => Err(Error::NoEngine),
    }
}

fn installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| {
        folder
            .join(program)
            .metadata()
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}
