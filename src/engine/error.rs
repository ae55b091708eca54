use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "neither podman nor docker is installed; type `apt-get install podman` (or your system's like), then run this command again"
    )]
    NoEngine,
    #[error(
        "{engine} is not installed; type `apt-get install {package}` (or your system's like), or choose another engine with --engine"
    )]
    NotInstalled { engine: &'static str, package: &'static str },
    #[error("{engine} takes no image from a folder: use podman, or leave --image-file out")]
    NoLayouts { engine: &'static str },
    #[error("`{command}` failed: {why}")]
    Failed { command: String, why: String },
    #[error(
        "to {engine} the container {name} is still stopping, though nothing of it runs any more (who waits for its end was killed); type `vega-builder up` again, which makes it anew from its volumes"
    )]
    Stuck { engine: &'static str, name: String },
    #[error("`{command}` answered what cannot be understood: {why}")]
    Answer { command: String, why: String },
    #[error(
        "{engine} holds {digest} as image {found}, not as {expected}, which its verified manifest names; remove it with `{engine} image rm {found}`, then run this command again"
    )]
    WrongImage { engine: &'static str, digest: String, found: String, expected: String },
    #[error("the volume {volume} cannot be made ready: {why}; is there room on the disk (`df -h`)?")]
    Volume { volume: String, why: std::io::Error },
    #[error("the seccomp profile {} cannot be used: {why}; install your system's package of containers' default profile (Debian: golang-github-containers-common)", .path.display())]
    Seccomp { path: PathBuf, why: String },
    #[error(
        "the cgroup of the running container cannot be read: {why}; so its caps are not proven, and it was stopped"
    )]
    Cgroup { why: String },
    #[error("the caps are not in force: {}; the container was stopped. Is the controller enabled for this engine? see `cat /sys/fs/cgroup/cgroup.controllers`", .missing.join(", "))]
    CapsNotInForce { missing: Vec<String> },
}
