//! On a real machine: systemd, cgroup v2, podman and docker, and a reboot.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use testbed::{layout, scene::program};

/// Boot the machine on `disk`, and run a command of the guest's in it.
fn boot(folder: &Path, disk: &Path, verb: &str) {
    let scenario = folder.join("in");
    let script = format!("export VEGA_TESTBED_PROGRAM=/in/vega-builder\nexec /in/guest {verb}\n");
    fs::write(scenario.join("run.sh"), script).unwrap();
    let out = folder.join(verb);
    let status = Command::new(layout::project().join("checks/vm/run"))
        .arg("--in")
        .arg(&scenario)
        .arg("--out")
        .arg(&out)
        .arg("--disk")
        .arg(disk)
        .args(["--timeout", "420"])
        .status()
        .unwrap();
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap_or_default();
    println!("{}", read("stdout"));
    let journal = read("journal");
    let last: Vec<&str> = journal.lines().rev().take(40).collect();
    assert!(status.success(), "{verb}: {status}\n{}\n{}", read("stderr"), last.join("\n"));
}

#[test]
fn machine_podman_and_docker_come_back_after_a_reboot_without_a_token() {
    let folder = tempfile::Builder::new().tempdir_in(layout::project().join("target")).unwrap();
    let scenario = folder.path().join("in");
    fs::create_dir(&scenario).unwrap();
    for (from, name) in [(program(), "vega-builder"), (program().with_file_name("guest"), "guest")] {
        fs::copy(from, scenario.join(name)).unwrap();
        fs::set_permissions(scenario.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let copied =
        Command::new("cp").arg("-a").arg(layout::demo_image()).arg(scenario.join("image")).status().unwrap();
    assert!(copied.success());
    let disk = folder.path().join("disk");
    boot(folder.path(), &disk, "up");
    // The machine was shut down: this is its reboot.
    boot(folder.path(), &disk, "back");
}
