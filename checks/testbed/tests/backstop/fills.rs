//! A disk that runs full, by a job's hand or somebody else's.

use std::{fs, path::PathBuf, thread, time::Duration};

use testbed::{
    by_hand::{mint, outcome, push, remove, run, run_with},
    scene::Scene,
};

use super::{MINUTE, SLACK, lines, until_said_within};

/// A file system of its own for the runner's folder, as small as a test fills it in a moment.
struct Small(PathBuf);

impl Small {
    fn new(scene: &Scene, options: &str) -> Self {
        let place = scene.folder.path().join("small");
        fs::create_dir_all(&place).unwrap();
        nix::mount::mount(
            Some("tmpfs"),
            &place,
            Some("tmpfs"),
            nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV,
            Some(options),
        )
        .unwrap();
        Self(place)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// A runner whose folder is that small, and which keeps two thirds of it free.
fn run_small(scene: &Scene, options: &str) -> Small {
    let small = Small::new(scene, options);
    let token = format!("GITHUB_RUNNER_TOKEN={}", mint(scene));
    let variables = [token.as_str(), "VEGA_NIX_SANDBOX=false", "VEGA_BUILDER_MIN_FREE=200m"];
    let volume = format!("--volume={}:/home/runner/actions-runner", small.0.display());
    run_with(scene, &variables, &[&volume]);
    scene.until_online(true).unwrap();
    small
}

fn is_ended(scene: &Scene, attack: &str, said: &str) {
    let attacked = outcome(scene, push(scene, &format!("{attack}; sleep 100")));
    assert_ne!(attacked.result, "Succeeded", "{}", attacked.log);
    until_said_within(scene, "the job that took the last of it is ended", SLACK);
    assert!(scene.engine.logs(&scene.name).contains(said), "{}", scene.engine.logs(&scene.name));
    let next = outcome(scene, push(scene, "dd if=/dev/zero of=some bs=1048576 count=50"));
    assert_eq!(next.result, "Succeeded", "{}", next.log);
    remove(scene);
}

pub fn a_job_that_fills_the_disk_is_ended_and_the_next_one_has_room(scene: &Scene) {
    let _small = run_small(scene, "size=300m");
    is_ended(scene, "dd if=/dev/zero of=fill bs=1048576 count=299", "free, and 200 MiB are to stay free");
}

pub fn a_job_that_takes_every_inode_is_ended_and_the_next_one_has_room(scene: &Scene) {
    let _small = run_small(scene, "size=300m,nr_inodes=6000");
    is_ended(scene, "n=0; while true >$n; do n=$((n+1)); done", "of 6000 inodes free");
}

pub fn a_disk_that_others_fill_makes_the_runner_offline_and_loses_no_job(scene: &Scene) {
    let small = run_small(scene, "size=300m");
    let others = small.0.join("others");
    fs::write(&others, vec![1; 150 << 20]).unwrap();
    until_said_within(scene, "no job is taken; make room on the host, or lower `--min-free`", MINUTE);
    scene.github.until(SLACK, || !scene.github.is_online(&scene.name)).unwrap();
    let waits = scene.github.enqueue(push(scene, "true"));
    thread::sleep(Duration::from_secs(5));
    assert!(scene.github.outcome(waits).is_none(), "full is offline, and the job stays queued");
    fs::remove_file(&others).unwrap();
    let done = scene.github.wait(waits, MINUTE + SLACK).unwrap();
    assert_eq!(done.result, "Succeeded", "{}", done.log);
    assert_eq!(lines(scene, "no job is taken"), 1, "told once");
    remove(scene);
}

/// Two builds one after the other, of which the second needs the first one's output while garbage is collected.
const LONG_BUILD: &str = r#"busybox=$(ls -d /nix/store/*busybox*/bin/busybox | head -n 1)
cat >build.nix <<NIX
let
  build = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = builtins.storePath "${busybox%/bin/busybox}" + "/bin/busybox";
    args = [ "sh" "-c" script ];
  };
  garbage = build "garbage" "$busybox dd if=/dev/zero of=\$out bs=1048576 count=80";
  needed = build "needed" "$busybox dd if=/dev/zero of=\$out bs=1048576 count=40";
in {
  inherit garbage;
  top = build "top" "$busybox sleep 20; $busybox wc -c \${needed} > \$out";
}
NIX
garbage=$(nix-build --no-out-link -A garbage build.nix --option substitute false)
top=$(nix-build --no-out-link -A top build.nix --option substitute false) || exit 1
cat $top
test ! -e $garbage && echo the garbage went meanwhile
"#;

pub fn a_store_over_its_budget_is_collected_beside_a_build_which_loses_nothing() {
    let scene = Scene::new("beside").unwrap();
    let token = format!("GITHUB_RUNNER_TOKEN={}", mint(&scene));
    run(&scene, &[&token, "VEGA_NIX_SANDBOX=false", "VEGA_BUILDER_DISK=60m"]);
    scene.until_online(true).unwrap();
    let log = scene.job(LONG_BUILD).unwrap();
    assert!(log.contains("41943040 /nix/store/"), "{log}");
    assert!(log.contains("the garbage went meanwhile"), "{log}");
    // All is in use as long as the job holds it: that is no reason to take no job afterwards.
    let held =
        LONG_BUILD.replace("--no-out-link -A garbage", "-o held -A garbage").replace("test ! -e", "test -e");
    let log = scene.job(&held.replace("went meanwhile", "is held")).unwrap();
    assert!(log.contains("the garbage is held"), "{log}");
    assert!(scene.job("true").is_ok());
    assert!(
        !scene.engine.logs(&scene.name).contains("no job is taken"),
        "{}",
        scene.engine.logs(&scene.name)
    );
    assert!(!scene.engine.logs(&scene.name).contains("raise `--disk`"), "{}", scene.engine.logs(&scene.name));
    remove(&scene);
}
