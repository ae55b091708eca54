//! An ephemeral runner's slots: every job in a container, a store and a registration of its own.

use std::{fs, path::Path, time::Duration};

use nix::sys::signal::Signal;
use simulator::{
    cache,
    fault::{Fault, Kind},
};
use testbed::{
    by_hand::jit,
    caching::{Bench, narinfo, paths},
    cgroup,
    scene::{LOGIN, Scene, succeeded},
    scripts::two_builds,
    search::Search,
    slots::{PATIENCE, Slots, declaration, declare},
};

#[test]
fn podman_every_job_has_a_fresh_container_and_none_of_what_the_last_one_left() {
    let scene = Scene::new("fresh").unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    let first = slots.online();
    // Everything that a persistent runner cannot keep from the next job.
    let poison = "echo poison >/home/runner/poison; echo poison >$GITHUB_WORKSPACE/../poison; echo poison >/tmp/poison; \
                  nix-store --add /tmp/poison; (setsid sleep 300 &) ; echo $HOSTNAME";
    slots.job(poison).unwrap();
    let seen = slots
        .job(
            "ls /home/runner /tmp $GITHUB_WORKSPACE/..; echo there are $(ls /nix/store | grep -c poison); \
             pgrep -af 'sleep 300' || true; cat /home/runner/poison || true",
        )
        .unwrap();
    assert!(
        !seen.contains("poison\n") && !seen.contains("sleep 300") && seen.contains("there are 0"),
        "{seen}"
    );
    slots
        .until("the third is not another one", || !slots.online().is_empty() && slots.online() != first)
        .unwrap();
    slots.end().unwrap();
}

#[test]
fn podman_two_slots_run_two_jobs_at_once_and_no_third() {
    let scene = Scene::new("two").unwrap();
    let slots = Slots::start(&scene, 2, "").unwrap();
    slots.until_online(2).unwrap();
    let jobs: Vec<u64> = (0..4)
        .map(|_| slots.enqueue("echo begins $(date +%s%N); sleep 4; echo ends $(date +%s%N)"))
        .collect();
    let times: Vec<(u128, u128)> = jobs
        .into_iter()
        .map(|job| {
            let log = slots.result(job).unwrap();
            let at = |word: &str| {
                log.lines().find_map(|line| line.split(word).nth(1)?.trim().parse().ok()).unwrap()
            };
            (at("begins"), at("ends"))
        })
        .collect();
    let at_once = |at: u128| times.iter().filter(|(begin, end)| (*begin..*end).contains(&at)).count();
    let most = times.iter().map(|(begin, _)| at_once(*begin)).max();
    assert_eq!(most, Some(2), "{times:?}");
    slots.end().unwrap();
}

#[test]
fn podman_told_to_end_it_waits_for_its_job_and_starts_no_other() {
    let scene = Scene::new("patient").unwrap();
    let mut slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    let job = slots.enqueue("echo begun; sleep 8; echo done");
    slots.until("it does not begin", || scene.github.log_so_far(job).contains("begun")).unwrap();
    // The next one's container has booted before this one's job ends.
    let is_warm = |name: &String| {
        let state = fs::read_to_string(Path::new("/run/vega-builder").join(name).join("state.json"));
        state.is_ok_and(|state| state.contains("\"warm\""))
    };
    slots.until("none waits", || slots.containers().unwrap().iter().any(is_warm)).unwrap();
    assert!(!scene.github.log_so_far(job).contains("done"), "it came after the job");
    let waiting = slots.enqueue("true");
    slots.signal(Signal::SIGTERM).unwrap();
    assert!(slots.ended(PATIENCE).unwrap(), "{}", slots.log());
    assert!(slots.result(job).unwrap().contains("done"));
    assert!(scene.github.outcome(waiting).is_none());
    assert!(slots.containers().unwrap().is_empty() && slots.at_github().is_empty(), "{}", slots.log());
}

#[test]
fn podman_a_keeper_that_is_killed_loses_no_job_and_leaves_no_second_runner() {
    let scene = Scene::new("killed").unwrap();
    let mut slots = Slots::start(&scene, 2, "").unwrap();
    slots.until_online(2).unwrap();
    let job = slots.enqueue("echo begun; sleep 8; echo done");
    slots.until("it does not begin", || scene.github.log_so_far(job).contains("begun")).unwrap();
    let listening = slots.online();
    slots.signal(Signal::SIGKILL).unwrap();
    assert!(!slots.ended(PATIENCE).unwrap());
    // As a power cut between GitHub's answer and its use leaves one, and others that are nobody's of this runner.
    jit(&scene, &format!("{}.job-lefton", scene.name));
    for other in [format!("{}.job-LEFTON", scene.name), format!("{}2.job-lefton", scene.name)] {
        jit(&scene, &other);
    }
    slots.keep().unwrap();
    slots.until("it does not go on", || slots.log().contains("goes on in slot")).unwrap();
    assert!(slots.result(job).unwrap().contains("done"), "{}", slots.log());
    slots.until_online(2).unwrap();
    assert!(slots.online().iter().any(|name| listening.contains(name)), "{}", slots.log());
    let listed = || slots.at_github();
    slots
        .until("what is left over stays", || !listed().contains(&format!("{}.job-lefton", scene.name)))
        .unwrap();
    let others = scene.github.runners().iter().filter(|runner| runner.name.ends_with("LEFTON")).count();
    assert_eq!((others, scene.github.runners().len()), (1, 4), "{:?}", scene.github.runners());
    scene.github.forget(&format!("{}.job-LEFTON", scene.name));
    slots.end().unwrap();
}

#[test]
fn podman_a_keeper_that_is_killed_after_it_lost_a_slot_cancels_no_job_of_that() {
    let scene = Scene::new("fewer").unwrap();
    let mut slots = Slots::start(&scene, 2, "").unwrap();
    slots.until_online(2).unwrap();
    let begin = || slots.enqueue("echo begun; sleep 25; echo done");
    let jobs = [begin(), begin()];
    let has_begun = |job: &u64| scene.github.log_so_far(*job).contains("begun");
    slots.until("they do not begin", || jobs.iter().all(has_begun)).unwrap();
    let (file, two) = (declaration(&scene), fs::read_to_string(declaration(&scene)).unwrap());
    fs::write(&file, two.replace("ephemeral = 2", "ephemeral = 1")).unwrap();
    slots.signal(Signal::SIGKILL).unwrap();
    assert!(!slots.ended(PATIENCE).unwrap());
    slots.keep().unwrap();
    for job in jobs {
        assert!(slots.result(job).unwrap().contains("done"), "{}", slots.log());
    }
    slots.until("the surplus one stays", || slots.online().len() == 1).unwrap();
    slots.end().unwrap();
}

#[test]
fn podman_a_drain_of_slots_that_nobody_keeps_waits_for_their_jobs_and_no_other_starts() {
    let scene = Scene::new("unkept").unwrap();
    let mut slots = Slots::start(&scene, 2, "").unwrap();
    slots.until_online(2).unwrap();
    let job = slots.enqueue("echo begun; sleep 8; echo done");
    slots.until("it does not begin", || scene.github.log_so_far(job).contains("begun")).unwrap();
    slots.signal(Signal::SIGKILL).unwrap();
    assert!(!slots.ended(PATIENCE).unwrap());
    let drained = scene.run(&["drain", &scene.name]).unwrap();
    assert!(drained.status.success(), "{drained:?}");
    assert!(slots.result(job).unwrap().contains("done"));
    let waits = slots.enqueue("true");
    std::thread::sleep(Duration::from_secs(2));
    assert!(scene.github.outcome(waits).is_none() && slots.online().is_empty());
    slots.keep().unwrap();
    scene.run(&["resume", &scene.name]).unwrap();
    slots.result(waits).unwrap();
    // Killed again, and in a hurry.
    let job = slots.enqueue("echo begun; sleep 60");
    slots.until("it does not begin", || scene.github.log_so_far(job).contains("begun")).unwrap();
    slots.signal(Signal::SIGKILL).unwrap();
    assert!(!slots.ended(PATIENCE).unwrap());
    let drained = scene.run(&["drain", &scene.name, "--now"]).unwrap();
    assert!(drained.status.success() && slots.online().is_empty(), "{drained:?}");
    slots.keep().unwrap();
    scene.run(&["resume", &scene.name]).unwrap();
    slots.until_online(2).unwrap();
    slots.end().unwrap();
}

#[test]
fn podman_a_lost_reply_and_a_taken_name_make_no_second_runner() {
    let scene = Scene::new("lost").unwrap();
    let asked = "generate-jitconfig";
    scene.github.fault(Fault::new("POST", asked, Kind::DropReply));
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    assert_eq!(slots.at_github().len(), 1, "{:?}", slots.at_github());
    scene.github.fault(Fault::status("POST", asked, 409, &[]));
    slots.job("true").unwrap();
    slots.until_online(1).unwrap();
    // Refused for good it is asked again ever more slowly, and the container that has booted waits for it.
    scene.github.fault(Fault::status("POST", asked, 403, &[]).times(2));
    slots.job("true").unwrap();
    slots.until_online(1).unwrap();
    let log = slots.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("403: a fault on demand")).collect();
    assert!(told.len() == 1 && told[0].ends_with("next try in 1 s"), "told once: {log}");
    slots.end().unwrap();
}

#[test]
fn podman_a_job_finds_no_configuration_of_its_runners_and_no_login_and_is_held_to_its_caps() {
    let scene = Scene::new("walls").unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    let name = slots.online().remove(0);
    let limits = cgroup::limits(scene.engine.pid(&name).unwrap()).unwrap();
    for (limit, wanted) in [("memory_max", 1 << 30), ("swap_max", 0), ("cpu_max", 2000), ("pids_max", 512)] {
        assert_eq!(limits[limit], wanted, "{limit}");
    }
    let runner = scene.github.runners().into_iter().find(|runner| runner.name == name).unwrap();
    let look = "{ cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null || true; } | tr '\\0' '\\n'; \
                find / -xdev -name 'jit-config*' 2>/dev/null || true; ls -la /run/vega-builder/handover || true";
    let job = slots.enqueue(&format!("{look}; echo LOOKED; sleep 3"));
    slots.until("it does not look", || scene.github.log_so_far(job).contains("LOOKED")).unwrap();
    let mut search = Search::new(LOGIN);
    search.processes();
    search.container(&scene.engine, &name).unwrap();
    search.container_files(&scene.engine, &name).unwrap();
    for place in ["/run", "/var/lib/vega-builder"] {
        search.files(Path::new(place));
    }
    assert!(search.seen.is_empty(), "{:?}", search.seen);
    // What its runner proves itself with: in the files that the listener reads, and in no process.
    let mut search = Search::new(&runner.credential);
    search.processes();
    search.container(&scene.engine, &name).unwrap();
    search.files(Path::new("/run"));
    assert!(search.seen.is_empty(), "{:?}", search.seen);
    let seen = slots.result(job).unwrap();
    assert!(!seen.contains("jit-config") && seen.contains("Permission denied"), "{seen}");
    slots.end().unwrap();
}

#[test]
fn podman_what_a_job_builds_is_pushed_before_its_store_goes_and_waits_for_a_cache_that_is_away() {
    let bench = Bench::new("pushed");
    let cache = cache::Server::start().unwrap();
    let more = format!(
        "[cache]\nto = '{}'\nkey-file = '{}'\nupstreams = 'http://127.0.0.1:9'\n",
        cache.url(),
        bench.key().display()
    );
    let slots = Slots::start(&bench.scene, 1, &more).unwrap();
    slots.until_online(1).unwrap();
    cache.faults.add(Fault::status("PUT", "", 503, &[]).times(4));
    let built = paths(&slots.job(&two_builds("one")).unwrap());
    slots
        .until("it is not pushed", || built.iter().all(|path| cache.file(&narinfo(path)).is_some()))
        .unwrap();
    slots
        .until("its volumes stay", || {
            slots.volumes().unwrap().iter().filter(|one| one.ends_with("-queue")).count() == 1
        })
        .unwrap();
    // A cache that takes nothing for a while: `status` says so, of a job that is long over.
    cache.faults.add(Fault::status("PUT", "", 503, &[]).times(1000));
    slots.job(&two_builds("two")).unwrap();
    let uploads = || {
        let output = bench.scene.run(&["status", &bench.scene.name, "--output", "json"]).unwrap();
        let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        all[0]["uploads"].clone()
    };
    slots
        .until("nobody says what waits", || {
            let said = uploads();
            said["waiting"].as_u64() >= Some(2)
                && said["error"].as_str().is_some_and(|why| why.contains("503"))
        })
        .unwrap();
    let shown = bench.scene.run(&["status", &bench.scene.name]).unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(" builds wait: ") && shown.contains("503"), "{shown}");
    cache.faults.clear();
    slots.until("what waited is not pushed", || uploads()["waiting"] == 0).unwrap();
    // Their queues are gone, and what went out of them is still counted.
    slots.until("their volumes stay", || slots.volumes().unwrap().len() <= 4).unwrap();
    let text = succeeded(&bench.scene.run(&["metrics"]).unwrap()).unwrap();
    let metric = |name: &str, labels: &str| -> f64 {
        let line = format!("vega_builder_{name}{{runner=\"{}\"{labels}}} ", bench.scene.name);
        let found = text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok());
        found.unwrap_or_else(|| panic!("{line}: {text}"))
    };
    assert!(metric("jobs_total", ",result=\"succeeded\"") > 1.5 && metric("online", "") > 0.5, "{text}");
    assert!(
        metric("uploads_pushed_total", "") > 3.5 && metric("uploads_pushed_bytes_total", "") > 100.0,
        "{text}"
    );
    assert!(metric("uploads_waiting", "") < 0.5 && metric("uploads_failing", "") < 0.5, "{text}");
    slots.end().unwrap();
}

#[test]
fn podman_another_number_of_slots_comes_with_a_reload_and_ends_no_job() {
    let scene = Scene::new("reloaded").unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    let job = slots.enqueue("echo begun; sleep 6; echo done");
    slots.until("it does not begin", || scene.github.log_so_far(job).contains("begun")).unwrap();
    declare(&scene, 3, "").unwrap();
    slots.signal(Signal::SIGHUP).unwrap();
    slots.until_online(3).unwrap();
    let status = || -> serde_json::Value {
        let output = scene.run(&["status", &scene.name, "--output", "json"]).unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert!(slots.result(job).unwrap().contains("done"));
    slots.until_online(3).unwrap();
    let told = status();
    assert_eq!(told[0]["slots"].as_array().unwrap().len(), 3, "{told}");
    assert_eq!(
        (&told[0]["runner"]["phase"], &told[0]["caps"]["error"]),
        (&"listening".into(), &serde_json::Value::Null),
        "{told}"
    );
    declare(&scene, 1, "").unwrap();
    slots.signal(Signal::SIGHUP).unwrap();
    slots.until_online(1).unwrap();
    slots.end().unwrap();
}

#[test]
fn podman_a_runner_that_was_removed_at_github_comes_back_and_no_stores_of_old_images_stay() {
    let scene = Scene::new("removed").unwrap();
    let old = format!("{}-base-0123456789ab", scene.name);
    scene.engine.said(&["volume", "create", &old]).unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    slots
        .until("the store of an old image stays", || !scene.engine.volumes().unwrap().contains(&old))
        .unwrap();
    let of_this = format!("{}-base-", scene.name);
    let bases = scene.engine.volumes().unwrap().iter().filter(|one| one.starts_with(&of_this)).count();
    assert_eq!(bases, 1);
    let name = slots.online().remove(0);
    scene.github.forget(&name);
    slots
        .until("another one does not come", || slots.online().first().is_some_and(|now| *now != name))
        .unwrap();
    // A loop would ask GitHub for a runner every other second.
    let (log, told) = (slots.log(), "a container ended without a job");
    assert!(
        log.lines().filter(|line| line.contains(told)).count() == 1 && log.contains("next try in 1 s"),
        "{log}"
    );
    slots.job("true").unwrap();
    slots.end().unwrap();
}

#[test]
fn podman_drained_without_a_unit_it_rests_and_resumes_and_a_second_keeper_is_refused() {
    let scene = Scene::new("rests").unwrap();
    let slots = Slots::start(&scene, 2, "").unwrap();
    slots.until_online(2).unwrap();
    let second = scene.run(&["slots", &scene.name]).unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("are kept already, by process"), "{second:?}");
    let job = slots.enqueue("echo begun; sleep 5; echo done");
    slots.until("it does not begin", || scene.github.log_so_far(job).contains("begun")).unwrap();
    succeeded(&scene.run(&["drain", &scene.name]).unwrap()).unwrap();
    assert!(scene.github.outcome(job).is_some_and(|outcome| outcome.log.contains("done")), "{}", slots.log());
    assert!(slots.containers().unwrap().is_empty() && slots.at_github().is_empty(), "{}", slots.log());
    let late = slots.enqueue("echo late");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(scene.github.outcome(late).is_none());
    succeeded(&scene.run(&["resume", &scene.name]).unwrap()).unwrap();
    assert!(slots.result(late).unwrap().contains("late"));
    succeeded(&scene.run(&["slots", &scene.name, "--reload"]).unwrap()).unwrap();
    slots.until("it does not hear", || slots.log().contains("read the declaration again")).unwrap();
    slots.end().unwrap();
}
