//! What goes wrong around an ephemeral runner's slots, and what jobs try that a runner that stays cannot keep from the next.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use simulator::{cache::Server, fault::Fault};
use testbed::{
    attacks::{Tries, table},
    caching::{Bench, narinfo, paths},
    scene::{LOGIN, Scene, succeeded},
    scripts::two_builds,
    slots::{PATIENCE, Slots, declaration, token_file},
};

const MINUTE: Duration = Duration::from_secs(60);
/// What a busy machine adds to it.
const SLACK: Duration = Duration::from_secs(10);

fn lines(slots: &Slots<'_>, what: &str) -> usize {
    slots.log().lines().filter(|line| line.contains(what)).count()
}

fn status(scene: &Scene) -> String {
    String::from_utf8_lossy(&scene.run(&["status", &scene.name]).unwrap().stdout).into_owned()
}

#[test]
fn podman_a_credential_that_is_revoked_is_told_within_a_minute_and_once_and_jobs_go_on_with_another() {
    let scene = Scene::new("revoked").unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    scene.github.revoke(LOGIN);
    let told = "until then no job is taken after those that are listened for";
    scene.github.until(MINUTE + SLACK, || lines(&slots, told) == 1).unwrap();
    let log = slots.log();
    assert!(log.contains("does not accept the token from") && !log.contains(LOGIN), "{log}");
    assert!(status(&scene).contains(told), "{}", status(&scene));
    let events = succeeded(&scene.run(&["events", &scene.name]).unwrap()).unwrap();
    assert_eq!(events.lines().filter(|line| line.contains(told)).count(), 1, "{events}");
    // The one that listens has its registration already; the one after it waits, ever more slowly, and says so once.
    slots.job("true").unwrap();
    let waits = slots.enqueue("true");
    let asks = "slot 1: asking for a just-in-time configuration";
    slots.until("it is not told", || lines(&slots, asks) == 1).unwrap();
    thread::sleep(Duration::from_secs(50));
    assert!(scene.github.outcome(waits).is_none());
    assert_eq!((lines(&slots, told), lines(&slots, asks)), (1, 1), "{}", slots.log());
    // Into the file, as the sentence says, while what the unit was started with is of no use any more.
    assert!(log.contains("put a new one into that file"), "{log}");
    scene.github.credential("ghp_another", true);
    fs::write(token_file(&scene), "ghp_another").unwrap();
    slots.until("it does not go on", || slots.log().contains("GitHub takes the credential again")).unwrap();
    slots.result(waits).unwrap();
    assert!(!status(&scene).contains(told), "{}", status(&scene));
    slots.end().unwrap();
}

#[test]
fn podman_a_full_disk_leaves_jobs_queued_at_slots_too_and_a_reload_has_them_go_on() {
    let scene = Scene::new("no-room").unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    let (file, ample) = (declaration(&scene), fs::read_to_string(declaration(&scene)).unwrap());
    fs::write(&file, ample.replace("[caps]\n", "[caps]\nmin-free = '900t'\n")).unwrap();
    slots.signal(Signal::SIGHUP).unwrap();
    let full = "are to stay free: no job is taken; type `podman system df`, and make room";
    slots.until("it does not say that the disk is full", || slots.log().contains(full)).unwrap();
    slots.until("one listens all the same", || slots.at_github().is_empty()).unwrap();
    let waits = slots.enqueue("true");
    assert!(status(&scene).contains(full), "{}", status(&scene));
    let looks = scene.run(&["status", &scene.name]).unwrap();
    assert_eq!(looks.status.code(), Some(8));
    thread::sleep(Duration::from_secs(5));
    assert!(scene.github.outcome(waits).is_none() && slots.online().is_empty(), "{}", slots.log());
    assert_eq!(lines(&slots, full), 1, "{}", slots.log());
    fs::write(&file, ample).unwrap();
    slots.signal(Signal::SIGHUP).unwrap();
    slots.result(waits).unwrap();
    slots.end().unwrap();
}

#[test]
fn podman_every_attack_of_the_table_that_can_be_tried_is_refused_in_a_slot_too() {
    let scene = Scene::new("slot-attacks").unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    let tries = Tries::of(&table());
    let outcome = scene.github.wait(slots.enqueue(&tries.script()), PATIENCE).unwrap();
    tries.expect_refused(&outcome.log);
    slots.job("true").unwrap();
    slots.end().unwrap();
}

#[test]
fn podman_a_drain_of_slots_waits_for_the_last_uploads_of_their_jobs() {
    let bench = Bench::new("slots-drained");
    let (scene, cache) = (&bench.scene, Server::start().unwrap());
    let more = format!(
        "[cache]\nto = '{}'\nkey-file = '{}'\nupstreams = 'http://127.0.0.1:9'\n",
        cache.url(),
        bench.key().display()
    );
    let slots = Slots::start(scene, 1, &more).unwrap();
    slots.until_online(1).unwrap();
    cache.faults.add(Fault::status("PUT", "", 503, &[]).times(100_000));
    let built = paths(&slots.job(&two_builds("drained")).unwrap());
    let waiting = scene.run(&["drain", &scene.name, "--wait", "8"]).unwrap();
    let said = String::from_utf8_lossy(&waiting.stderr).into_owned();
    assert!(!waiting.status.success() && said.contains("--wait is over"), "{waiting:?}");
    cache.faults.clear();
    succeeded(&scene.run(&["drain", &scene.name]).unwrap()).unwrap();
    for path in &built {
        assert!(cache.file(&narinfo(path)).is_some(), "{path}: {}", slots.log());
    }
    assert!(slots.containers().unwrap().is_empty() && slots.volumes().unwrap().is_empty(), "{}", slots.log());
    slots.end().unwrap();
}

#[test]
fn podman_an_uninstall_of_slots_pushes_what_their_jobs_have_built() {
    let bench = Bench::new("slots-gone");
    let (scene, cache) = (&bench.scene, Server::start().unwrap());
    let more = format!(
        "[cache]\nto = '{}'\nkey-file = '{}'\nupstreams = 'http://127.0.0.1:9'\n",
        cache.url(),
        bench.key().display()
    );
    let slots = Slots::start(scene, 1, &more).unwrap();
    let file = declaration(scene);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("# vega-builder install\n{text}")).unwrap();
    slots.until_online(1).unwrap();
    cache.faults.add(Fault::status("PUT", "", 503, &[]).times(100_000));
    let built = paths(&slots.job(&two_builds("gone")).unwrap());
    slots.until_online(1).unwrap();
    let mut uninstall = scene.command(&["uninstall", &scene.name]);
    let mut uninstall = uninstall.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_secs(6));
    assert!(uninstall.try_wait().unwrap().is_none(), "it waits for nothing");
    cache.faults.clear();
    let told = succeeded(&uninstall.wait_with_output().unwrap()).unwrap();
    assert!(!told.contains("not pushed"), "{told}");
    for path in &built {
        assert!(cache.file(&narinfo(path)).is_some(), "{path}: {}", slots.log());
    }
    assert!(slots.containers().unwrap().is_empty() && slots.volumes().unwrap().is_empty(), "{}", slots.log());
}

/// A session with a registration that a job has copied, from wherever that was carried: the status of GitHub's answer.
fn pose_as(scene: &Scene, registration: &serde_json::Value) -> String {
    let asked = serde_json::json!({
        "runner": registration["runner"],
        "credential": registration["credential"],
        "version": "2.336.0",
    });
    let output = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "content-type: application/json"])
        .args(["--data", &asked.to_string(), &format!("{}/_runner/sessions", scene.github.url())])
        .output()
        .unwrap();
    succeeded(&output).unwrap()
}

const COPY: &str = r#"cd $(dirname $(dirname $(dirname $PWD)))
id=$(sed -n 's/.*"agentId": *\([0-9]*\).*/\1/p' .runner)
key=$(sed -n 's/.*"d": *"\([^"]*\)".*/\1/p' .credentials_rsaparams)
echo "COPIED {\"runner\": $id, \"credential\": \"$key\"}"
"#;

#[test]
fn podman_a_registration_that_a_job_has_copied_is_of_no_use_after_it() {
    let scene = Scene::new("copied").unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    let log = slots.job(COPY).unwrap();
    let copied = log.lines().find_map(|line| line.strip_prefix("COPIED ")).unwrap();
    let copied: serde_json::Value = serde_json::from_str(copied).unwrap();
    assert!(copied["credential"].as_str().is_some_and(|key| key.len() > 20), "nothing was copied: {log}");
    slots.until_online(1).unwrap();
    assert_eq!(pose_as(&scene, &copied), "404", "{}", slots.log());
    slots.end().unwrap();
    // It is no question that is always answered so: of a runner that stays a copy is good until it is removed.
    let stays = Scene::new("copied-stays").unwrap();
    stays.up(&[]).unwrap();
    let log = stays.job(COPY).unwrap();
    let copied = log.lines().find_map(|line| line.strip_prefix("COPIED ")).unwrap();
    let copied: serde_json::Value = serde_json::from_str(copied).unwrap();
    stays.engine.said(&["stop", "--time", "20", &stays.name]).unwrap();
    assert_eq!(pose_as(&stays, &copied), "200");
    stays.down().unwrap();
    assert_eq!(pose_as(&stays, &copied), "404");
}

/// The same derivation each time, with another result.
const BUILD: &str = r#"busybox=$(ls -d /nix/store/*busybox*/bin/busybox | head -n 1)
cat >build.nix <<NIX
derivation {
  name = "same";
  system = builtins.currentSystem;
  builder = builtins.storePath "${busybox%/bin/busybox}" + "/bin/busybox";
  args = [ "sh" "-c" "read line </proc/sys/kernel/random/uuid; echo \$line > \$out" ];
}
NIX
path=$(nix-build --no-out-link build.nix --option substitute false)
echo "BUILT $path $(cat $path)"
"#;

#[test]
fn podman_a_slots_next_job_reads_nothing_that_the_last_one_built_and_is_given_none_of_its_builds() {
    let scene = Scene::new("apart").unwrap();
    let built = |log: &str| -> (String, String) {
        let line = log.lines().find_map(|line| line.strip_prefix("BUILT ")).unwrap();
        let (path, content) = line.split_once(' ').unwrap();
        (path.to_owned(), content.to_owned())
    };
    let (path, first) = {
        let slots = Slots::start(&scene, 1, "").unwrap();
        slots.until_online(1).unwrap();
        let first = built(&slots.job(BUILD).unwrap());
        let seen = slots.job(&format!("cat {} || echo NOT THERE\n{BUILD}", first.0)).unwrap();
        assert!(seen.contains("NOT THERE"), "{seen}");
        let second = built(&seen);
        assert_eq!(second.0, first.0, "it is another derivation");
        assert_ne!(second.1, first.1, "the second job was given the first one's build");
        slots.end().unwrap();
        first
    };
    // A runner that stays gives it to both: so docs/attacks.md says.
    scene.up(&[]).unwrap();
    let first_here = built(&scene.job(BUILD).unwrap());
    assert!(first_here.0 == path && first_here.1 != first);
    assert_eq!(built(&scene.job(BUILD).unwrap()), first_here);
    scene.down().unwrap();
}

/// The first process of a container, its nix-daemon, and podman's conmon beside it.
fn victim(scene: &Scene, name: &str, who: &str) -> Option<i32> {
    let first = scene.engine.pid(name).ok().filter(|pid| *pid > 0)?;
    match who {
        "PID 1" => i32::try_from(first).ok(),
        "conmon" => scene.engine.fact(name, "/State/ConmonPid").ok()?.as_u64()?.try_into().ok(),
        comm => {
            let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).ok()?;
            let is_it = |pid: &&str| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim() == comm)
            };
            children.split_whitespace().find(is_it)?.parse().ok()
        }
    }
}

/// Each at each moment, one after the other; what is counted as lost in the end.
fn killed_in_a_slot(who: &str) -> usize {
    let scene = Scene::new(&format!("slot-{}", who.replace(' ', "-").to_lowercase())).unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    for phase in ["warm", "listening", "busy"] {
        slots.until_online(1).unwrap();
        // While this one works, the next one boots.
        let seconds = if phase == "warm" { 25 } else { 6 };
        let job = slots.enqueue(&format!("echo AT WORK; sleep {seconds}; echo FINISHED"));
        slots.until("it does not begin", || scene.github.log_so_far(job).contains("AT WORK")).unwrap();
        let is = |name: &String| {
            let state = Path::new("/run/vega-builder").join(name).join("state.json");
            fs::read_to_string(state).is_ok_and(|state| state.contains(&format!("\"{phase}\"")))
        };
        let found = || slots.containers().unwrap().into_iter().find(is);
        if phase == "listening" {
            slots.result(job).unwrap();
        }
        slots.until(&format!("none is {phase}"), || found().is_some()).unwrap();
        let name = found().unwrap();
        let pid = victim(&scene, &name, who).unwrap_or_else(|| panic!("{who} is not there, {phase}"));
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        if phase == "listening" && who == "PID 1" {
            // GitHub gives a job to one that it takes for alive.
            slots.until("GitHub takes it for alive", || !scene.github.is_online(&name)).unwrap();
        }
        if phase != "listening" {
            let outcome = scene.github.wait(job, PATIENCE).unwrap();
            let expected = if phase == "busy" && who == "PID 1" { "Failed" } else { "Succeeded" };
            assert_eq!(outcome.result, expected, "{who} {phase}: {}", slots.log());
        }
        slots.job("true").unwrap();
    }
    let events = succeeded(&scene.run(&["events", &scene.name]).unwrap()).unwrap();
    slots.end().unwrap();
    events.matches("nobody knows how").count()
}

#[test]
fn podman_whoever_is_killed_in_a_slot_that_is_warm_or_listens_or_works_the_next_job_has_another() {
    thread::scope(|scope| {
        let lost = ["PID 1", "nix-daemon", "conmon"].map(|who| scope.spawn(move || killed_in_a_slot(who)));
        assert_eq!(lost.map(|lost| lost.join().unwrap()), [1, 0, 0]);
    });
}
