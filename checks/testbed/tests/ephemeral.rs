//! An ephemeral runner's slots: every job in a container, a store and a registration of its own.

use nix::sys::signal::Signal;
use testbed::{
    scene::Scene,
    slots::{PATIENCE, Slots},
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
    let job = slots.enqueue("echo begun; sleep 5; echo done");
    slots.until("it does not begin", || scene.github.log_so_far(job).contains("begun")).unwrap();
    let waiting = slots.enqueue("true");
    slots.signal(Signal::SIGTERM).unwrap();
    assert!(slots.ended(PATIENCE).unwrap(), "{}", slots.log());
    assert!(slots.result(job).unwrap().contains("done"));
    assert!(scene.github.outcome(waiting).is_none());
    assert!(slots.containers().unwrap().is_empty() && slots.at_github().is_empty(), "{}", slots.log());
}
