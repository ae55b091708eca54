//! Collections of garbage that cure what they are for.

use std::{fs, path::PathBuf, process::Command, thread, time::Duration};

use testbed::{
    by_hand::{mint, remove, run},
    scene::{Scene, succeeded},
};

use super::{MINUTE, SLACK, lines, until_said_within, volume};

/// A file system of its own for a runner's store, a little larger than what is in it.
struct SmallStore {
    place: PathBuf,
    memory: PathBuf,
}

impl SmallStore {
    /// In the place of the volume of a runner that is down.
    fn under(scene: &Scene, spare: u64) -> Self {
        use nix::mount::{MsFlags, mount};
        let (place, memory) = (volume(scene, "store"), scene.folder.path().join("store"));
        fs::create_dir_all(&memory).unwrap();
        let used = Command::new("du").args(["-sx", "--block-size=1"]).arg(&place).output().unwrap();
        let used = succeeded(&used).unwrap();
        let used: u64 = used.split_whitespace().next().unwrap().parse().unwrap();
        let size = format!("size={},mode=755", used + spare);
        mount(Some("tmpfs"), &memory, Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).unwrap();
        let copied = Command::new("cp").arg("-a").arg(place.join(".")).arg(&memory).output().unwrap();
        succeeded(&copied).unwrap();
        mount(Some(&memory), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        Self { place, memory }
    }
}

impl Drop for SmallStore {
    fn drop(&mut self) {
        for mounted in [&self.place, &self.memory] {
            let _ = nix::mount::umount2(mounted, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

const MIB: u64 = 1 << 20;

/// Nobody holds it once it is built.
const GARBAGE: &str = r#"busybox=$(ls -d /nix/store/*busybox*/bin/busybox | head -n 1)
cat >garbage.nix <<NIX
derivation {
  name = "garbage";
  system = builtins.currentSystem;
  builder = builtins.storePath "${busybox%/bin/busybox}" + "/bin/busybox";
  args = [ "sh" "-c" "$busybox dd if=/dev/zero of=\$out bs=1048576 count=250" ];
}
NIX
nix-build --no-out-link garbage.nix --option substitute false"#;

fn collected(scene: &Scene) -> (f64, f64) {
    let text = succeeded(&scene.run(&["metrics"]).unwrap()).unwrap();
    let value = |name: &str| -> f64 {
        let line = format!("vega_builder_{name}{{runner=\"{}\"}} ", scene.name);
        text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or_default()
    };
    (value("garbage_collections_total"), value("garbage_collected_bytes_total"))
}

pub fn a_disk_below_min_free_is_collected_beside_a_job_and_at_the_boot_and_the_runner_goes_on() {
    let scene = Scene::new("below").unwrap();
    scene.up(&[]).unwrap();
    succeeded(&scene.run(&["down", &scene.name, "--keep-store"]).unwrap()).unwrap();
    let small = SmallStore::under(&scene, 600 * MIB);

    // Beside a job, as soon as nobody holds it.
    scene.up(&["--min-free", "400m"]).unwrap();
    let waits = "for i in $(seq 60); do test -e $path || break; sleep 1; done; test -e $path || echo IT WENT";
    let log = scene
        .job(&format!(
            "{GARBAGE}\npath=$(nix-store --query --outputs $(nix-instantiate garbage.nix)); {waits}"
        ))
        .unwrap();
    assert!(log.contains("IT WENT"), "{log}\n{}", scene.engine.logs(&scene.name));
    assert!(scene.job("true").is_ok());
    assert_eq!(lines(&scene, "no job is taken"), 0, "{}", scene.engine.logs(&scene.name));
    let (times, bytes) = collected(&scene);
    assert!(times >= 1.0 && bytes >= 249.0 * 1_048_576.0, "{times} {bytes}");

    // What is too much by another setting goes at the boot, before a job is refused for it.
    scene.up(&["--min-free", "256m"]).unwrap();
    let garbage = scene.job(GARBAGE).unwrap();
    assert!(scene.job(&format!("test -e {}", garbage.lines().next_back().unwrap())).is_ok());
    // (Where the sandbox is proven by a build, Nix itself would be quicker.)
    scene.up(&["--min-free", "400m", "--sandbox", "false"]).unwrap();
    let log = scene.engine.logs(&scene.name);
    assert!(log.contains("are to stay free: collecting garbage"), "{log}");
    assert_eq!(lines(&scene, "no job is taken"), 0, "{log}");
    assert!(scene.job(&format!("test ! -e {}", garbage.lines().next_back().unwrap())).is_ok());
    assert!(collected(&scene).0 > times);

    succeeded(&scene.run(&["down", &scene.name, "--keep-store"]).unwrap()).unwrap();
    drop(small);
    scene.engine.said(&["volume", "rm", &format!("{}-store", scene.name)]).unwrap();
}

pub fn garbage_goes_by_the_calendar_while_no_job_runs() {
    let scene = Scene::new("calendar").unwrap();
    let token = format!("GITHUB_RUNNER_TOKEN={}", mint(&scene));
    let calendar = ["VEGA_GC_INITIAL_DELAY=20s", "VEGA_GC_INTERVAL=10s", "VEGA_GC_DELETE_OLDER_THAN=1d"];
    run(&scene, &[&[token.as_str(), "VEGA_NIX_SANDBOX=false"], &calendar[..]].concat());
    scene.until_online(true).unwrap();
    // It comes due while this job runs, which needs what nobody holds.
    let log = scene
        .job("echo mine >mine; path=$(nix-store --add mine); sleep 25; test -e $path && echo STILL THERE; echo $path")
        .unwrap();
    assert!(log.contains("STILL THERE"), "{log}");
    until_said_within(&scene, "garbage collection ended (exit status: 0)", MINUTE);
    let path = log.lines().next_back().unwrap();
    scene.github.until(SLACK, || scene.job(&format!("test ! -e {path}")).is_ok()).unwrap();
    // And again and again.
    let again = || lines(&scene, "garbage collection ended") >= 2;
    scene.github.until(MINUTE, again).unwrap();
    thread::sleep(Duration::from_secs(1));
    assert!(scene.github.is_online(&scene.name));
    remove(&scene);
}
