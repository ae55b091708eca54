//! What a machine has on which a runner needs no container.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use crate::{scenario::Stage, scene::succeeded};

/// A Nix with a shell to build with in its store, and GitHub's runner where people unpack it.
pub fn host(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.systemctl(&["start", "nix-daemon.socket"])?;
    let folder = stage.world.folder().join("busybox");
    fs::create_dir_all(folder.join("bin"))?;
    fs::copy("/bin/busybox", folder.join("bin/busybox"))?;
    fs::set_permissions(folder.join("bin/busybox"), fs::Permissions::from_mode(0o555))?;
    let added = Command::new("nix-store").arg("--add").arg(&folder).output()?;
    // Nobody's garbage while this is played.
    let path = succeeded(&added)?.trim().to_owned();
    let root = Path::new("/nix/var/nix/gcroots").join("testbed-busybox");
    if !root.exists() {
        std::os::unix::fs::symlink(path, root)?;
    }
    let runner = Path::new("/opt/actions-runner");
    simulator::runner::install(runner)?;
    // As GitHub's archive has it: it keeps its files beside `bin`, whatever its environment says.
    Ok(fs::create_dir_all(runner.join("externals"))?)
}
