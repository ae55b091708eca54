//! Jobs that attack: the caps, the supervisor, the token, the host.

use std::{path::Path, time::Duration};

use simulator::github::{Job, Outcome};
use testbed::{scene::Scene, scripts};

/// A counter of the kernel's from the container's own cgroup: of version 1 (a tree for each controller), or 2.
fn counter(scene: &Scene, name: &str, controller: &str, files: [&str; 2]) -> u64 {
    let pid = scene.engine.pid(&scene.name).unwrap();
    let memberships = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let within = |of: &str| {
        memberships.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|one| one == of).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let file = within(controller).map_or_else(
        || Path::new("/sys/fs/cgroup").join(within("").unwrap()).join(files[1]),
        |path| Path::new("/sys/fs/cgroup").join(controller).join(path).join(files[0]),
    );
    let text = std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {text}")).trim().parse().unwrap()
}

fn job(scene: &Scene, script: &str) -> Outcome {
    let job = scene.github.enqueue(Job::push(&scene.repository, "attack", &["self-hosted", "vega"], script));
    scene.github.wait(job, Duration::from_secs(120)).unwrap()
}

#[test]
fn podman_a_memory_hog_is_killed_and_the_runner_survives() {
    let scene = Scene::new("memory-hog").unwrap();
    scene.up(&["--memory", "512m"]).unwrap();
    let pid = scene.engine.pid(&scene.name).unwrap();
    // Grows for ever, unless somebody stops it.
    let outcome = job(&scene, "tail /dev/zero");
    println!("{}", outcome.log);
    assert!(outcome.result == "Failed" || outcome.log.contains("Killed"), "{outcome:?}");
    assert!(
        counter(&scene, "oom_kill", "memory", ["memory.oom_control", "memory.events"]) >= 1,
        "the kernel killed it"
    );
    scene.until_online(true).unwrap();
    assert_eq!(scene.engine.pid(&scene.name).unwrap(), pid, "PID 1 survived");
    assert_eq!(job(&scene, "true").result, "Succeeded");
    scene.down().unwrap();
}

#[test]
fn podman_a_fork_bomb_stops_at_pids() {
    let scene = Scene::new("fork-bomb").unwrap();
    scene.up(&["--pids", "200"]).unwrap();
    // Bounded in number and in time, in case the cap were not there.
    let outcome = job(
        &scene,
        "n=0; for i in $(seq 600); do (sleep 5) 2>/dev/null & n=$((n+1)); done 2>&1 | tail -n 3; \
         ls -d /proc/[0-9]* | wc -l",
    );
    println!("{}", outcome.log);
    let most = outcome.log.lines().filter_map(|line| line.trim().parse::<u32>().ok()).max().unwrap_or(0);
    assert!((1..=200).contains(&most), "{most} processes");
    assert!(counter(&scene, "max", "pids", ["pids.events", "pids.events"]) >= 1, "the kernel refused a fork");
    scene.until_online(true).unwrap();
    assert_eq!(job(&scene, "true").result, "Succeeded");
    scene.down().unwrap();
}

#[test]
fn podman_a_job_finds_no_token_and_no_engine_socket() {
    let scene = Scene::new("curious").unwrap();
    scene.up(&[]).unwrap();
    let token = scene.github.tokens().pop().unwrap();
    let seen = job(&scene, scripts::LOOK_FOR_TOKENS).log;
    assert!(!seen.contains(&token), "{seen}");
    // The shape that it looks for is the token's, or the search would prove nothing.
    let control =
        job(&scene, &format!("echo {token} >$RUNNER_TEMP/planted; {}", scripts::LOOK_FOR_TOKENS)).log;
    assert!(control.contains(&token), "{control}");
    scene.down().unwrap();
}

#[test]
fn podman_a_pull_request_from_a_fork_fails_before_its_first_step() {
    let scene = Scene::new("fork-pull").unwrap();
    scene.up(&[]).unwrap();
    let attack =
        Job::push(&scene.repository, "attack", &["self-hosted", "vega"], "echo STEP RAN").from_fork();
    let job = scene.github.enqueue(attack);
    let outcome = scene.github.wait(job, Duration::from_secs(60)).unwrap();
    assert_eq!(outcome.result, "Failed");
    assert!(!outcome.log.contains("STEP RAN"), "{}", outcome.log);
    assert!(outcome.log.contains("takes no 'pull_request' events"), "{}", outcome.log);
    scene.job("echo still here").unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_forks_pull_request_does_not_run_even_its_steps_that_say_always() {
    let scene = Scene::new("fork-always").unwrap();
    scene.up(&[]).unwrap();
    let pid = scene.engine.pid(&scene.name).unwrap();
    for condition in ["always()", "failure()", "${{ !cancelled() }}"] {
        let attack = Job::push(&scene.repository, "attack", &["self-hosted", "vega"], "echo STEP RAN");
        let job = scene.github.enqueue(attack.from_fork().when(condition));
        let outcome = scene.github.wait(job, Duration::from_secs(60)).unwrap();
        assert_eq!(outcome.result, "Failed");
        assert!(!outcome.log.contains("STEP RAN"), "{condition}: {}", outcome.log);
        assert!(outcome.log.contains("takes no 'pull_request' events"), "{}", outcome.log);
    }
    scene.job("echo still here").unwrap();
    assert_eq!(scene.engine.pid(&scene.name).unwrap(), pid, "PID 1 survived");
    scene.down().unwrap();
}

#[test]
fn podman_a_job_that_kills_whatever_it_can_ends_itself_and_its_listener_and_nothing_else() {
    let scene = Scene::new("kills-all").unwrap();
    scene.up(&[]).unwrap();
    let pid = scene.engine.pid(&scene.name).unwrap();
    assert_ne!(job(&scene, "kill -9 -1; sleep 1; echo LIVES").result, "Succeeded");
    scene.until_online(true).unwrap();
    assert_eq!(
        scene.engine.pid(&scene.name).unwrap(),
        pid,
        "PID 1 and the store's daemon are not its user's"
    );
    let log = scene.job(&scripts::sandboxed_build("after-kill")).unwrap();
    assert!(log.contains("sandbox: sandboxed"), "{log}");
    assert_eq!((scene.github.runners().len(), scene.github.minted()), (1, 1));
    scene.down().unwrap();
}
