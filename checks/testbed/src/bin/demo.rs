//! `make demo`: the main job from a signed image to nothing left behind, and its report.

use std::{
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use simulator::{github::Job, sigstore::Identity};
use testbed::{
    cgroup, layout,
    nix_store::NixStore,
    scene::{CAPS, IMAGE, LOGIN, Scene, succeeded},
    scripts,
    search::Search,
    slots::Slots,
};

/// A step of the story.
struct Told {
    name: String,
    ok: bool,
    seconds: f64,
}

#[derive(Default)]
struct Demo {
    steps: Vec<Told>,
}

fn main() -> ExitCode {
    let mut demo = Demo::default();
    let mut report = json!({
        "ok": false, "digest": null, "caps": null, "job": null, "token_found_in": null, "minted": null,
        "left_behind": null,
    });
    let result = demo.tell(&mut report);
    report["ok"] = json!(result.is_ok());
    report["steps"] =
        demo.steps.iter().map(|s| json!({ "name": s.name, "ok": s.ok, "seconds": s.seconds })).collect();
    let path = layout::project().join("target/demo/report.json");
    let text = serde_json::to_string_pretty(&report).unwrap_or_default();
    if let Err(why) = fs::write(&path, text) {
        eprintln!("demo: {}: {why}", path.display());
        return ExitCode::FAILURE;
    }
    demo.table();
    match result {
        Ok(()) => {
            println!("the report: target/demo/report.json");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Demo {
    /// Do a step, and say so.
    fn step<T>(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let start = Instant::now();
        let result = work();
        let seconds = start.elapsed().as_secs_f64();
        self.told(name, result.is_ok(), seconds);
        result.with_context(|| name.to_owned())
    }

    fn told(&mut self, name: &str, ok: bool, seconds: f64) {
        println!("{} {name} ({seconds:.2} s)", if ok { "✓" } else { "✗" });
        self.steps.push(Told { name: name.to_owned(), ok, seconds });
    }

    fn tell(&mut self, report: &mut Value) -> anyhow::Result<()> {
        let scene = self.step("push the image to a real registry", || {
            Scene::unsigned("heavy-builds", &layout::demo_image(), "podman")
        })?;
        self.step("sign its digest as Vega's publish workflow", || scene.sign(&Identity::vega()))?;

        self.step("why it is trusted", || {
            let told = succeeded(&scene.run(&["verify", "--explain"])?)?;
            for line in told.lines() {
                println!("    {line}");
            }
            Ok(())
        })?;
        self.step("a pull request that would reach this machine: lint shows it, up refuses", || {
            reached(&scene)
        })?;
        let key = self.step("make a key that signs what is built", || make_key(&scene))?;
        let cache = caching(&scene);
        let cache: Vec<&str> = cache.iter().map(String::as_str).collect();
        let result = self.up(&scene, &cache)?;
        report["digest"] = result["digest"].clone();
        let caps = self.step("read the caps from the cgroup, without up's word", || {
            let caps = cgroup::limits(scene.engine.pid(&scene.name)?)?;
            for (name, wanted) in CAPS {
                ensure!(caps[name] == wanted, "{name} is {}, not {wanted}", caps[name]);
            }
            ensure!(caps == result["caps"]["in_force"], "up says {}", result["caps"]["in_force"]);
            Ok(caps)
        })?;
        report["caps"] = caps;

        self.step("the doctor finds nothing wrong, and says which jobs will come", || {
            let told = succeeded(&scene.run(&["doctor", &scene.name])?)?;
            ensure!(told.contains("will come here: build (.github/workflows/ci.yml"), "{told}");
            told.lines().for_each(|line| println!("    {line}"));
            Ok(())
        })?;
        let outcome =
            self.step("a job: a sandboxed nix build", || scene.outcome(&scripts::sandboxed_build("one")))?;
        let log = outcome.log;
        let sandboxed = log.contains("sandbox: sandboxed");
        let path = log.lines().find_map(|line| line.strip_prefix("store path: ")).unwrap_or_default().trim();
        report["job"] = json!({ "result": outcome.result, "sandbox": sandboxed, "store_path": path });
        ensure!(outcome.result == "Succeeded", "the job {}: {log}", outcome.result);
        ensure!(sandboxed, "the build was not sandboxed: {log}");

        self.step("its build is in the cache already, and Nix takes it with our key alone", || {
            let store = NixStore::new()?;
            succeeded(&store.substitute(path, &cache_url(&scene), &key)?).map(drop)
        })?;
        self.step("where it was built", || {
            let told = succeeded(&scene.run(&["provenance", path, "--key", &key])?)?;
            told.lines().for_each(|line| println!("    {line}"));
            Ok(())
        })?;

        let found = self.step("look for the token everywhere", || self::search(&scene))?;
        report["token_found_in"] = json!(found);
        ensure!(found.is_empty(), "the token was seen: {found:?}");

        let first = scene.engine.pid(&scene.name)?;
        self.step("kill -9 the container's first process", || kill(first))?;
        self.step("back by itself, without a new token", || {
            let is_another = || scene.engine.pid(&scene.name).is_ok_and(|pid| pid != 0 && pid != first);
            scene.github.until(Duration::from_secs(scene.patience), is_another)?;
            scene.until_online(true)?;
            ensure!(scene.github.minted() == 1, "a second token was minted");
            Ok(())
        })?;
        self.step("another job", || scene.job(&scripts::sandboxed_build("two")))?;
        self.step("up again changes nothing", || {
            let before = scene.engine.pid(&scene.name)?;
            scene.up(&cache)?;
            ensure!(scene.engine.pid(&scene.name)? == before, "the container was started again");
            Ok(())
        })?;
        self.step("a tag that is moved to an unsigned image changes nothing", || {
            let evil = layout::tiny_image(scene.folder.path(), "evil")?;
            scene.registry.push(&evil, IMAGE, "latest")?;
            let refused = scene.run(&["up", &scene.repository])?;
            ensure!(refused.status.code() == Some(3), "it was not refused: {}", refused.status);
            scene.until_online(true)
        })?;
        self.step("prepare verifies again what runs, by digest", || {
            succeeded(&scene.run(&["prepare", &scene.name])?)
        })?;
        self.step("drained while a job runs, which ends first; and back without a token", || {
            drained(&scene)
        })?;
        self.step("what happened, as the runner wrote it down out of its jobs' reach", || {
            let told = succeeded(&scene.run(&["events", &scene.name])?)?;
            ensure!(told.matches("succeeded after").count() == 4, "{told}");
            told.lines().for_each(|line| println!("    {line}"));
            Ok(())
        })?;
        self.step("down", || scene.down())?;
        report["minted"] = json!(scene.github.minted());
        let left = self.step("look for what is left", || left_behind(&scene))?;
        report["left_behind"] = json!(left);
        ensure!(left.is_empty(), "left behind: {left:?}");
        ensure!(scene.github.minted() == 1, "{} tokens were minted", scene.github.minted());
        self.slots()
    }

    /// The same repository's jobs, each in a container of its own.
    fn slots(&mut self) -> anyhow::Result<()> {
        let scene = Scene::new("heavy-slots")?;
        let slots = self.step("an ephemeral runner with two slots, without a registration token", || {
            let slots = Slots::start(&scene, 2, "")?;
            slots.until_online(2)?;
            Ok(slots)
        })?;
        self.step("three jobs, two at once, each in a fresh container and store", || {
            let first = slots.at_github();
            let jobs = ["one", "two", "three"].map(|salt| slots.enqueue(&scripts::sandboxed_build(salt)));
            for job in jobs {
                ensure!(slots.result(job)?.contains("sandbox: sandboxed"), "a build was not sandboxed");
            }
            slots.until_online(2)?;
            let again = slots.at_github();
            ensure!(
                again.iter().filter(|name| first.contains(name)).count() == 0,
                "{first:?}, then {again:?}"
            );
            ensure!(scene.github.minted() == 0, "a registration token was minted");
            Ok(())
        })?;
        self.step("told to end: no container, volume or runner of a job is left", || slots.end())
    }

    /// `vega-builder up`; its steps become ours.
    fn up(&mut self, scene: &Scene, flags: &[&str]) -> anyhow::Result<Value> {
        println!("  vega-builder up {} {}", scene.repository, flags.join(" "));
        let said = scene.up(flags)?;
        let mut result = Value::Null;
        for line in said.lines() {
            let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            if let Some(name) = line["step"].as_str() {
                let (ok, seconds) = (line["ok"] == true, line["seconds"].as_f64().unwrap_or_default());
                self.told(
                    &format!("up: {name}: {}", line["detail"].as_str().unwrap_or_default()),
                    ok,
                    seconds,
                );
            }
            if line["result"].is_object() {
                result = line["result"].clone();
            }
        }
        ensure!(result.is_object(), "up told no result: {said}");
        Ok(result)
    }

    fn table(&self) {
        println!("\n{:>8}  step", "seconds");
        for step in &self.steps {
            let name: String = step.name.chars().take(110).collect();
            println!("{:>8.2}  {}{name}", step.seconds, if step.ok { "" } else { "FAILED: " });
        }
        let all: f64 = self.steps.iter().map(|step| step.seconds).sum();
        println!("{all:>8.2}  in all");
    }
}

/// The key of the demonstration's own cache; the public half.
fn make_key(scene: &Scene) -> anyhow::Result<String> {
    let file = scene.folder.path().join("cache-key");
    let file = file.to_str().context("the folder's name")?;
    let told = succeeded(&scene.run(&["key", "generate", "--name", "demo-1", "--out", file])?)?;
    Ok(told.trim().to_owned())
}

fn cache_url(scene: &Scene) -> String {
    format!("file://{}", scene.folder.path().join("cache").display())
}

/// Every build to a folder, signed; nobody is upstream where nobody can be reached.
fn caching(scene: &Scene) -> Vec<String> {
    let key = scene.folder.path().join("cache-key").display().to_string();
    let flags = [
        ("--cache-to", cache_url(scene)),
        ("--cache-key", key),
        ("--cache-wait", "job".to_owned()),
        ("--cache-upstreams", "http://127.0.0.1:9".to_owned()),
    ];
    flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

/// Every place where somebody could look for the token, or for the login that minted it: places where one was seen.
fn search(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let token = scene.github.tokens().pop().context("no token was minted")?;
    let seen_by_a_job = scene.job(scripts::LOOK_FOR_TOKENS)?;
    let mut seen = Vec::new();
    for secret in [token.as_str(), LOGIN] {
        let mut search = Search::new(secret);
        search.container(&scene.engine, &scene.name)?;
        search.processes();
        search.container_files(&scene.engine, &scene.name)?;
        for folder in ["/run", "/tmp", "/var", "/etc", "/dev/shm"] {
            search.files(Path::new(folder));
        }
        if let Some(state) = std::env::var_os("VEGA_TESTBED") {
            search.files(Path::new(&state));
        }
        search.text("a job's own eyes", &seen_by_a_job);
        seen.append(&mut search.seen);
    }
    Ok(seen)
}

/// Somebody lets pull requests start the heavy job: nothing is registered until that is mended.
fn reached(scene: &Scene) -> anyhow::Result<()> {
    let (file, open) =
        (".github/workflows/ci.yml", "on: pull_request\njobs: {build: {runs-on: [self-hosted, vega]}}\n");
    scene.github.change(&scene.repository, |hosted| hosted.file("main", file, open));
    let shown = scene.run(&["lint", &scene.repository])?;
    ensure!(shown.status.code() == Some(1), "lint let it pass: {}", shown.status);
    for line in String::from_utf8_lossy(&shown.stdout).lines().take_while(|line| !line.is_empty()) {
        println!("    {line}");
    }
    let refused = scene.run(&["up", &scene.repository])?;
    ensure!(refused.status.code() == Some(10), "up did not refuse it: {}", refused.status);
    ensure!(scene.github.minted() == 0, "a token was minted");
    scene
        .github
        .change(&scene.repository, |hosted| hosted.file("main", file, &open.replace("pull_request", "push")));
    Ok(())
}

fn kill(pid: u32) -> anyhow::Result<()> {
    use nix::{sys::signal, unistd::Pid};
    Ok(signal::kill(Pid::from_raw(i32::try_from(pid)?), signal::Signal::SIGKILL)?)
}

fn drained(scene: &Scene) -> anyhow::Result<()> {
    let job = Job::push(&scene.repository, "last", &["self-hosted", "vega"], "echo BEGUN; sleep 3");
    let job = scene.github.enqueue(job);
    let soon = Duration::from_secs(scene.patience);
    scene.github.until(soon, || scene.github.log_so_far(job).contains("BEGUN"))?;
    succeeded(&scene.run(&["drain", &scene.name])?)?;
    let outcome = scene.github.wait(job, Duration::from_secs(1))?;
    ensure!(outcome.result == "Succeeded", "{outcome:?}");
    ensure!(scene.engine.pid(&scene.name)? == 0, "a drained runner's container runs");
    succeeded(&scene.run(&["resume", &scene.name])?)?;
    scene.job("echo BACK").map(drop)
}

/// What of the runner is still on this machine, or at GitHub.
fn left_behind(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    // The engine is this demonstration's own: whatever it still holds is left behind.
    left.extend(scene.engine.containers()?.into_iter().map(|name| format!("container {name}")));
    left.extend(scene.engine.volumes()?.into_iter().map(|name| format!("volume {name}")));
    let images = scene.engine.said(&["images", "--all", "--format", "{{.ID}}"])?;
    left.extend(images.lines().map(|id| format!("image {id}")));
    for folder in ["/var/lib/vega-builder", "/run/vega-builder", "/var/cache/vega-builder"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            left.push(entry.path().display().to_string());
        }
    }
    left.extend(scene.github.runners().into_iter().map(|runner| format!("at GitHub: {}", runner.name)));
    // The kernel takes a moment to bury the last processes.
    let _ = scene.github.until(Duration::from_secs(5), || processes().is_empty());
    left.extend(processes());
    Ok(left)
}

/// Processes that only a runner's container has.
fn processes() -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.starts_with("Runner.") || matches!(name.trim(), "nix-daemon" | "conmon") {
            found.push(format!("process {} ({})", entry.path().display(), name.trim()));
        }
    }
    found
}
