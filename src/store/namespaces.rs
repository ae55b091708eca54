//! What Nix does to make a sandbox, in small: new namespaces, and mounts inside them.

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Make the namespaces of a build and mount in them; an error names the call that is refused here.
///
/// The namespaces are this process's own from then on, and end with it.
pub fn can_sandbox() -> Result<(), String> {
    let refused = |what: &'static str| move |why: nix::Error| format!("{what}: {why}");
    let spaces = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    unshare(spaces).map_err(refused("new namespaces"))?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .map_err(refused("making the mounts private"))?;
    mount(Some("/tmp"), "/tmp", nothing, MsFlags::MS_BIND | MsFlags::MS_REC, nothing)
        .map_err(refused("a bind mount"))?;
    mount(Some("none"), "/tmp", Some("tmpfs"), MsFlags::empty(), nothing).map_err(refused("a tmpfs"))?;
    nix::unistd::sethostname("localhost").map_err(refused("naming the host"))
}
