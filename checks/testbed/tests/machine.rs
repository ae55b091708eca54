//! On a real machine: systemd, cgroup v2, podman and docker, and a reboot.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use testbed::{layout, scene::program};

/// Boot the machine on `disk`, and run a command of the guest's in it.
fn boot(folder: &Path, disk: &Path, verb: &str) {
    let scenario = folder.join("in");
    // On the console too, which is there even when the machine has to be killed.
    let script = format!(
        "test -x /usr/local/bin/vega-builder || install -m 0755 /in/vega-builder /usr/local/bin/\n\
         export VEGA_TESTBED_PROGRAM=/usr/local/bin/vega-builder\n\
         /in/guest {verb} 2>&1 | tee /dev/ttyS0\nexit \"${{PIPESTATUS[0]}}\"\n"
    );
    fs::write(scenario.join("run.sh"), script).unwrap();
    let out = folder.join(verb);
    let status = Command::new(layout::project().join("checks/vm/run"))
        .arg("--in")
        .arg(&scenario)
        .arg("--out")
        .arg(&out)
        .arg("--disk")
        .arg(disk)
        .args(["--timeout", "800"])
        .status()
        .unwrap();
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap_or_default();
    println!("{}", read("stdout"));
    let (journal, console) = (read("journal"), read("console"));
    let last = |text: &str| text.lines().rev().take(30).map(str::to_owned).collect::<Vec<_>>().join("\n");
    assert!(status.success(), "{verb}: {status}\n{}\n{}", last(&console), last(&journal));
}

/// A folder with all that the machine is given.
fn scenario() -> tempfile::TempDir {
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
    folder
}

#[test]
fn machine_podman_and_docker_come_back_after_a_reboot_without_a_token() {
    let folder = scenario();
    let disk = folder.path().join("disk");
    boot(folder.path(), &disk, "up");
    // The machine was shut down: this is its reboot.
    boot(folder.path(), &disk, "back");
}

#[test]
fn machine_hostile_jobs_break_neither_the_caps_of_podman_and_docker_nor_find_a_secret() {
    let folder = scenario();
    boot(folder.path(), &folder.path().join("disk"), "attacks");
}
