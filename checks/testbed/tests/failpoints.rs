//! Whatever is killed, and whenever: the runner comes back by itself, or by the same command once more, as one runner, without a
//! token anywhere, and every job has a result. `up` itself is killed at each of its steps in life.rs, what pushes builds in
//! uploads.rs, the keeper of slots in ephemeral.rs; the power is cut in checks/scenarios/power-cut.toml.

use std::{
    fs,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::{
    by_hand::{field, listener, processes, push},
    scene::{Scene, succeeded},
    scripts::sandboxed_build,
    search::Search,
};

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    /// PID 1 of the container.
    Supervisor,
    Listener,
    NixDaemon,
    /// What podman leaves beside a container, and which waits for its end.
    Conmon,
}

/// What PID 1 says of itself at that moment.
const FAILPOINTS: [(Victim, &[&str]); 4] = [
    (Victim::Supervisor, &["starting", "waiting-for-token", "registering", "listening", "busy", "drained"]),
    (Victim::Listener, &["listening", "busy", "draining"]),
    (Victim::NixDaemon, &["starting", "listening", "busy"]),
    (Victim::Conmon, &["listening", "busy"]),
];
const SOON: Duration = Duration::from_secs(90);

fn state(scene: &Scene) -> String {
    let path = Path::new("/run/vega-builder").join(&scene.name).join("state.json");
    fs::read_to_string(path).unwrap_or_default()
}

fn is(scene: &Scene, phase: &str) -> bool {
    state(scene).contains(&format!("\"phase\":\"{phase}\""))
}

fn pid(scene: &Scene, victim: Victim) -> Option<u32> {
    match victim {
        Victim::Supervisor => scene.engine.pid(&scene.name).ok().filter(|pid| *pid > 0),
        Victim::Listener => listener(scene),
        Victim::Conmon => {
            let pid = scene.engine.fact(&scene.name, "/State/ConmonPid").ok()?.as_u64()?;
            u32::try_from(pid).ok()
        }
        Victim::NixDaemon => {
            let first = scene.engine.pid(&scene.name).ok().filter(|pid| *pid > 0)?;
            let parent = |status: &str| field(status, "PPid").parse::<u32>().ok();
            let is_it = |(_, status): &&(u32, String)| {
                field(status, "Name") == "nix-daemon" && parent(status) == Some(first)
            };
            processes(scene).iter().find(is_it).map(|(pid, _)| *pid)
        }
    }
}

/// Kill it as soon as PID 1 says that; whether that was seen before it was over.
fn kill_at(scene: &Scene, victim: Victim, phase: &str) -> bool {
    let until = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < until, "{victim:?} at {phase}: {}", state(scene));
        if ["starting", "registering"].contains(&phase) && is(scene, "listening") {
            return false;
        }
        if is(scene, phase)
            && let Some(pid) = pid(scene, victim)
        {
            kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// One runner, one container, no token, and jobs run.
fn converges(scene: &Scene, victim: Victim, point: &str) {
    let at = format!("{victim:?} killed at {point}");
    let online = scene.github.until(SOON, || scene.github.is_online(&scene.name));
    assert!(online.is_ok(), "{at}: {}\n{}", state(scene), scene.engine.logs(&scene.name));
    // A daemon that was killed is there again within a second or two; what is built before that finds none.
    let ping = "nix --extra-experimental-features nix-command store ping --store daemon";
    let answers = || scene.engine.said(&["exec", "--user=1001", &scene.name, "sh", "-c", ping]).is_ok();
    let daemon = scene.github.until(SOON, answers);
    assert!(daemon.is_ok(), "{at}: {}\n{}", state(scene), scene.engine.logs(&scene.name));
    let job = scene.github.enqueue(push(scene, &sandboxed_build(&format!("{}-{point}", scene.name))));
    let done = scene.github.wait(job, SOON).unwrap_or_else(|why| panic!("{at}: {why:#}"));
    assert_eq!(done.result, "Succeeded", "{at}: {}", done.log);
    assert_eq!(scene.github.runners().len(), 1, "{at}");
    let ours = scene.engine.containers().unwrap().into_iter().filter(|name| name.starts_with(&scene.name));
    assert_eq!(ours.count(), 1, "{at}");
    for token in scene.github.tokens() {
        let mut search = Search::new(&token);
        search.container(&scene.engine, &scene.name).unwrap();
        for folder in ["/run/vega-builder", "/var/lib/vega-builder"] {
            search.files(&Path::new(folder).join(&scene.name));
        }
        assert!(search.seen.is_empty(), "{at}: {:?}", search.seen);
    }
}

/// Kill it while `up` brings the runner up; the same command once more does the rest.
fn killed_on_the_way(scene: &Scene, victim: Victim, phase: &str) {
    for _ in 0..5 {
        let mut up = scene.command(&["up", &scene.repository, "--output", "json", "--wait", "30"]);
        let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let was_seen = kill_at(scene, victim, phase);
        up.wait().unwrap();
        if was_seen {
            scene.up(&[]).unwrap();
            converges(scene, victim, phase);
            return drop(scene.down().unwrap());
        }
        // A moment on a busy machine.
        scene.down().unwrap();
    }
    panic!("{victim:?} was never there at {phase}");
}

fn killed_at(scene: &Scene, victim: Victim, point: &str) {
    match point {
        "starting" | "registering" => return killed_on_the_way(scene, victim, point),
        "waiting-for-token" => {
            scene.up(&[]).unwrap();
            scene.github.forget(&scene.name);
            assert!(kill_at(scene, victim, point));
            // Whatever it says of itself in this moment.
            succeeded(&scene.run(&["register", &scene.name]).unwrap()).unwrap();
        }
        "listening" => {
            scene.up(&[]).unwrap();
            assert!(kill_at(scene, victim, point));
        }
        "drained" => {
            scene.up(&[]).unwrap();
            succeeded(&scene.run(&["drain", &scene.name, "--output", "json"]).unwrap()).unwrap();
            // Without a unit a drained runner's container is stopped: one whose drain has only just come rests first.
            succeeded(&scene.run(&["resume", &scene.name]).unwrap()).unwrap();
            fs::write(Path::new("/run/vega-builder").join(&scene.name).join("drain"), "").unwrap();
            assert!(kill_at(scene, victim, point));
            scene.github.until(SOON, || is(scene, point)).unwrap();
            assert!(!scene.github.is_online(&scene.name), "a drain outlasts who is killed");
            succeeded(&scene.run(&["resume", &scene.name]).unwrap()).unwrap();
        }
        "busy" | "draining" => {
            scene.up(&[]).unwrap();
            let job = scene.github.enqueue(push(scene, "echo AT WORK; sleep 8; echo FINISHED"));
            scene.github.until(SOON, || scene.github.log_so_far(job).contains("AT WORK")).unwrap();
            if point == "draining" {
                scene.engine.said(&["kill", "--signal=HUP", &scene.name]).unwrap();
            }
            assert!(kill_at(scene, victim, "busy"));
            let done = scene.github.wait(job, SOON).unwrap();
            // Whose result was lost on the way GitHub itself calls failed.
            let goes_on = matches!(victim, Victim::NixDaemon | Victim::Conmon);
            assert_eq!(done.result, if goes_on { "Succeeded" } else { "Failed" }, "{victim:?}: {}", done.log);
            let events = || succeeded(&scene.run(&["events", &scene.name]).unwrap()).unwrap();
            let is_accounted = || {
                ["job ended, nobody knows how", "job succeeded after"]
                    .iter()
                    .any(|how| events().contains(how))
            };
            // Where who would have written it down is gone itself, the next one does.
            assert!(scene.github.until(SOON, is_accounted).is_ok(), "{victim:?}: {}", events());
        }
        other => unreachable!("{other}"),
    }
    converges(scene, victim, point);
    scene.down().unwrap();
}

#[test]
fn podman_whoever_is_killed_whenever_it_is_one_runner_again_without_a_token_and_every_job_has_a_result() {
    thread::scope(|scope| {
        for (victim, points) in FAILPOINTS {
            scope.spawn(move || {
                for point in points {
                    let name = format!("{victim:?}-{point}").to_lowercase();
                    killed_at(&Scene::new(&name).unwrap(), victim, point);
                }
            });
        }
    });
}
