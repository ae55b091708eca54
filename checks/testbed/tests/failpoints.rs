//! Whatever is killed, and whenever: the runner comes back by itself, or by the same command once more, as one runner, without a
//! token anywhere; every job has a result, and whatever was built is pushed. `up` itself is killed at each of its steps in
//! life.rs, what pushes builds in uploads.rs, the keeper of slots in ephemeral.rs; the power is cut in
//! checks/scenarios/power-cut.toml.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use simulator::{cache::Server, fault::Fault};
use testbed::{
    by_hand::{field, listener, processes, push},
    caching::{Bench, narinfo, paths},
    scene::{Scene, succeeded},
    scripts::sandboxed_build,
    search::Search,
};
use vega_builder::contract::Phase;

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

const VICTIMS: [Victim; 4] = [Victim::Supervisor, Victim::Listener, Victim::NixDaemon, Victim::Conmon];

/// All that PID 1 can say of itself; which ones these are the match in [`omitted`] has the compiler ask.
const PHASES: [Phase; 9] = [
    Phase::Starting,
    Phase::WaitingForToken,
    Phase::Warm,
    Phase::Registering,
    Phase::Listening,
    Phase::Busy,
    Phase::Drained,
    Phase::GaveUp,
    Phase::Stopping,
];

/// Why nobody is killed there.
fn omitted(victim: Victim, phase: Phase) -> Option<&'static str> {
    use Victim::{Conmon, Listener, NixDaemon, Supervisor};
    match phase {
        Phase::Warm => Some("a slot's, which has another container made: ephemeral_faults.rs"),
        Phase::Listening | Phase::Busy => None,
        Phase::Starting | Phase::WaitingForToken | Phase::Registering => {
            (victim == Listener).then_some("it has not been started yet")
        }
        Phase::Drained | Phase::GaveUp | Phase::Stopping => match victim {
            Listener | NixDaemon => Some("it has ended by then"),
            Supervisor | Conmon => None,
        },
    }
}

const SOON: Duration = Duration::from_secs(90);

fn words(phase: Phase) -> String {
    serde_json::to_value(phase).unwrap().as_str().unwrap().to_owned()
}

fn state(scene: &Scene) -> String {
    let path = Path::new("/run/vega-builder").join(&scene.name).join("state.json");
    fs::read_to_string(path).unwrap_or_default()
}

fn is(scene: &Scene, phase: Phase) -> bool {
    state(scene).contains(&format!("\"phase\":\"{}\"", words(phase)))
}

fn pid(scene: &Scene, victim: Victim) -> Option<u32> {
    match victim {
        Victim::Supervisor => scene.engine.pid(&scene.name).ok().filter(|pid| *pid > 0),
        Victim::Listener => listener(scene),
        Victim::Conmon => {
            let pid = scene.engine.fact(&scene.name, "/State/ConmonPid").ok()?.as_u64()?;
            u32::try_from(pid).ok().filter(|pid| *pid > 0)
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

fn sigkill(pid: u32) -> bool {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).is_ok()
}

/// One runner at one moment, with a cache for its builds.
struct Failpoint {
    bench: Bench,
    cache: Server,
    victim: Victim,
    phase: Phase,
}

impl Failpoint {
    fn new(victim: Victim, phase: Phase) -> Self {
        let name = format!("{victim:?}-{}", words(phase)).to_lowercase();
        Self { bench: Bench::new(&name), cache: Server::start().unwrap(), victim, phase }
    }

    fn scene(&self) -> &Scene {
        &self.bench.scene
    }

    fn up(&self) {
        self.bench.up(self.cache.url(), "no");
    }

    /// `up`, in the background.
    fn type_up(&self) -> Command {
        let (scene, key) = (self.scene(), self.bench.key());
        let mut up = scene.command(&["up", &scene.repository, "--output", "json", "--wait", "30"]);
        up.args([
            "--cache-to",
            self.cache.url(),
            "--cache-wait",
            "no",
            "--cache-upstreams",
            "http://127.0.0.1:9",
        ]);
        up.arg("--cache-key").arg(key).stdout(Stdio::null()).stderr(Stdio::null());
        up
    }

    /// Kill it as soon as PID 1 says that, `known` where a moment is too short to ask who it is; whether that was seen before
    /// it was over.
    fn kill_while(&self, known: Option<u32>, may_be_over: impl Fn() -> bool) -> bool {
        let (scene, until) = (self.scene(), Instant::now() + SOON);
        loop {
            assert!(Instant::now() < until, "{:?} at {:?}: {}", self.victim, self.phase, state(scene));
            if may_be_over() {
                return false;
            }
            if is(scene, self.phase)
                && let Some(pid) = known.or_else(|| pid(scene, self.victim))
            {
                return sigkill(pid);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn kill(&self) {
        assert!(self.kill_while(None, || false), "{:?} was gone by itself at {:?}", self.victim, self.phase);
    }

    /// Kill it while `up` brings the runner up, or takes it down; the same command once more does the rest.
    fn kill_on_the_way(&self) {
        let scene = self.scene();
        for _ in 0..8 {
            let was_seen = if self.phase == Phase::Stopping {
                self.up();
                let first = PathBuf::from(format!("/proc/{}", pid(scene, Victim::Supervisor).unwrap()));
                let known = pid(scene, self.victim);
                let mut stop = Command::new("podman");
                stop.args(["stop", "--time", "20", &scene.name]).stdout(Stdio::null()).stderr(Stdio::null());
                let mut stopping = stop.spawn().unwrap();
                let was_seen = self.kill_while(known, || !first.exists());
                stopping.wait().unwrap();
                was_seen
            } else {
                let mut up = self.type_up().spawn().unwrap();
                let was_seen = self.kill_while(None, || is(scene, Phase::Listening));
                up.wait().unwrap();
                was_seen
            };
            if was_seen {
                return self.up();
            }
            // A moment on a busy machine.
            scene.down().unwrap();
        }
        panic!("{:?} was never there at {:?}", self.victim, self.phase);
    }

    /// The paths of what was built by then, which are pushed whatever happens.
    fn visit(&self) -> Vec<String> {
        let scene = self.scene();
        match self.phase {
            Phase::Starting | Phase::Registering | Phase::Stopping => self.kill_on_the_way(),
            Phase::WaitingForToken => {
                self.up();
                scene.github.forget(&scene.name);
                self.kill();
                // Whatever it says of itself in this moment.
                succeeded(&scene.run(&["register", &scene.name]).unwrap()).unwrap();
            }
            Phase::Listening => {
                self.up();
                self.kill();
            }
            Phase::Drained => {
                self.up();
                succeeded(&scene.run(&["drain", &scene.name, "--output", "json"]).unwrap()).unwrap();
                // Without a unit a drained runner's container is stopped: one whose drain has only just come rests first.
                succeeded(&scene.run(&["resume", &scene.name]).unwrap()).unwrap();
                fs::write(Path::new("/run/vega-builder").join(&scene.name).join("drain"), "").unwrap();
                self.kill();
                scene.github.until(SOON, || is(scene, Phase::Drained)).unwrap();
                assert!(!scene.github.is_online(&scene.name), "a drain outlasts who is killed");
                succeeded(&scene.run(&["resume", &scene.name]).unwrap()).unwrap();
            }
            Phase::GaveUp => {
                self.up();
                let mended = gives_up(scene);
                self.kill();
                mended();
                self.up();
            }
            Phase::Busy => return self.at_work(),
            Phase::Warm => unreachable!("omitted"),
        }
        vec![]
    }

    /// What the job has built waits for a cache that is away.
    fn at_work(&self) -> Vec<String> {
        let scene = self.scene();
        self.up();
        self.cache.faults.add(Fault::status("PUT", "/", 503, &[]).times(100_000));
        let build = sandboxed_build(&format!("{}-before", scene.name));
        let job =
            scene.github.enqueue(push(scene, &format!("{build}\necho AT WORK; sleep 8; echo FINISHED")));
        scene.github.until(SOON, || scene.github.log_so_far(job).contains("AT WORK")).unwrap();
        self.kill();
        self.cache.faults.clear();
        let done = scene.github.wait(job, SOON).unwrap();
        // Whose result was lost on the way GitHub itself calls failed.
        let goes_on = matches!(self.victim, Victim::NixDaemon | Victim::Conmon);
        let result = if goes_on { "Succeeded" } else { "Failed" };
        assert_eq!(done.result, result, "{:?}: {}", self.victim, done.log);
        let events = || succeeded(&scene.run(&["events", &scene.name]).unwrap()).unwrap();
        let ends = ["job ended, nobody knows how", "job succeeded after"];
        let is_accounted = || ends.iter().any(|how| events().contains(how));
        // Where who would have written it down is gone itself, the next one does.
        assert!(scene.github.until(SOON, is_accounted).is_ok(), "{:?}: {}", self.victim, events());
        paths(&done.log)
    }

    /// One runner, one container with what pushes its builds, no token; jobs run, and every build is in the cache.
    fn converges(&self, mut built: Vec<String>) {
        let (scene, at) = (self.scene(), format!("{:?} killed at {:?}", self.victim, self.phase));
        let online = scene.github.until(SOON, || scene.github.is_online(&scene.name));
        assert!(online.is_ok(), "{at}: {}\n{}", state(scene), scene.engine.logs(&scene.name));
        // A daemon that was killed is there again within a second or two; what is built before that finds none.
        let ping = "nix --extra-experimental-features nix-command store ping --store daemon";
        let answers = || scene.engine.said(&["exec", "--user=1001", &scene.name, "sh", "-c", ping]).is_ok();
        let daemon = scene.github.until(SOON, answers);
        assert!(daemon.is_ok(), "{at}: {}\n{}", state(scene), scene.engine.logs(&scene.name));
        let job = scene.github.enqueue(push(scene, &sandboxed_build(&format!("{}-after", scene.name))));
        let done = scene.github.wait(job, SOON).unwrap_or_else(|why| panic!("{at}: {why:#}"));
        assert_eq!(done.result, "Succeeded", "{at}: {}", done.log);
        built.extend(paths(&done.log));
        for path in &built {
            let pushed = scene.github.until(SOON, || self.cache.file(&narinfo(path)).is_some());
            assert!(pushed.is_ok(), "{at}: {path} is lost: {}", self.bench.uploads());
        }
        assert_eq!(scene.github.runners().len(), 1, "{at}");
        let all = scene.engine.containers().unwrap();
        let ours: Vec<_> = all.into_iter().filter(|name| name.starts_with(&scene.name)).collect();
        assert_eq!(ours.len(), 2, "{at}: {ours:?}");
        for token in scene.github.tokens() {
            let mut search = Search::new(&token);
            search.processes();
            search.container(&scene.engine, &scene.name).unwrap();
            for folder in ["/run/vega-builder", "/var/lib/vega-builder"] {
                search.files(&Path::new(folder).join(&scene.name));
            }
            for volume in ["runner", "queue"] {
                search.files(&place(scene, volume));
            }
            assert!(search.seen.is_empty(), "{at}: {:?}", search.seen);
        }
    }
}

fn place(scene: &Scene, volume: &str) -> PathBuf {
    let volume = format!("{}-{volume}", scene.name);
    scene.engine.said(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]).unwrap().into()
}

/// Have it try no more; what mends it again.
fn gives_up(scene: &Scene) -> impl FnOnce() {
    let began = jiff::Timestamp::now();
    scene.engine.said(&["stop", "--time", "20", &scene.name]).unwrap();
    let store = fs::read_dir(place(scene, "store").join("store")).unwrap().flatten();
    let shell =
        store.map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with("-busybox-static"));
    let shell = shell.unwrap().join("bin/busybox");
    let whole = fs::read(&shell).unwrap();
    let mut broken = whole.clone();
    broken[whole.len() / 2] ^= 1;
    fs::write(&shell, &broken).unwrap();
    // As nine starts have left it that took half an hour together.
    let account = place(scene, "runner").join(".vega/events.jsonl");
    let mut log = fs::File::options().append(true).open(&account).unwrap();
    for _ in 0..9 {
        writeln!(log, r#"{{"at":"{began}","event":"stopped","why":"damaged"}}"#).unwrap();
    }
    scene.engine.said(&["start", &scene.name]).unwrap();
    scene.github.until(SOON, || is(scene, Phase::GaveUp)).unwrap();
    move || fs::write(&shell, &whole).unwrap()
}

#[test]
fn podman_whoever_is_killed_whenever_it_is_one_runner_again_without_a_token_and_nothing_is_lost() {
    thread::scope(|scope| {
        for victim in VICTIMS {
            scope.spawn(move || {
                for phase in PHASES {
                    if omitted(victim, phase).is_none() {
                        let point = Failpoint::new(victim, phase);
                        let built = point.visit();
                        point.converges(built);
                        point.scene().down().unwrap();
                    }
                }
            });
        }
    });
}

/// Beside the phases: a job that is the last one, because the runner is told to end after it.
#[test]
fn podman_a_listener_that_is_killed_under_a_drain_ends_with_its_job_known_and_the_runner_comes_back() {
    let scene = Scene::new("listener-draining").unwrap();
    scene.up(&[]).unwrap();
    let job = scene.github.enqueue(push(&scene, "echo AT WORK; sleep 8; echo FINISHED"));
    scene.github.until(SOON, || scene.github.log_so_far(job).contains("AT WORK")).unwrap();
    scene.engine.said(&["kill", "--signal=HUP", &scene.name]).unwrap();
    assert!(sigkill(listener(&scene).unwrap()));
    assert_eq!(scene.github.wait(job, SOON).unwrap().result, "Failed");
    let events = || succeeded(&scene.run(&["events", &scene.name]).unwrap()).unwrap();
    scene.github.until(SOON, || events().contains("job ended, nobody knows how")).unwrap();
    scene.github.until(SOON, || scene.github.is_online(&scene.name)).unwrap();
    scene.job("true").unwrap();
    scene.down().unwrap();
}
