//! What a person, a program and Prometheus see of a runner: events, metrics, the doctor's findings.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use simulator::{fault::Fault, github::Job};
use testbed::{
    scene::{Scene, succeeded},
    slots::Slots,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn events(scene: &Scene) -> Vec<Value> {
    let said = succeeded(&scene.run(&["events", &scene.name, "--output", "json"]).unwrap()).unwrap();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn count(events: &[Value], event: &str) -> usize {
    events.iter().filter(|entry| entry["event"] == event).count()
}

/// The value of a line of the text format.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in:\n{text}")).parse().unwrap()
}

#[test]
fn podman_every_job_is_an_event_and_a_number_and_outlives_the_container() {
    let scene = Scene::new("seen").unwrap();
    scene.up(&["--memory", "1g"]).unwrap();
    let mut follow = scene.command(&["events", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    scene.job("sleep 2").unwrap();
    let failed = scene.outcome("exit 1").unwrap();
    assert_eq!(failed.result, "Failed");
    let hog = scene.outcome("tail --bytes=1800M /dev/zero | tail >/dev/null; true").unwrap();
    assert!(!hog.result.is_empty());
    scene.until_online(true).unwrap();
    scene.github.until(PATIENCE, || count(&events(&scene), "job-ended") == 3).unwrap();
    let all = events(&scene);
    assert_eq!((count(&all, "started"), count(&all, "listening"), count(&all, "job-started")), (1, 1, 3));
    let ended: Vec<&Value> = all.iter().filter(|entry| entry["event"] == "job-ended").collect();
    assert_eq!(
        (ended[0]["result"].as_str(), ended[1]["result"].as_str()),
        (Some("succeeded"), Some("failed"))
    );
    assert!(
        ended[0]["seconds"].as_f64().unwrap() > 1.9 && ended[0]["runner"] == scene.name.as_str(),
        "{}",
        ended[0]
    );
    assert!(ended[0]["run"].as_str().unwrap().contains("/actions/runs/"), "{}", ended[0]);

    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("job job succeeded after")));
    follow.kill().unwrap();
    follow.wait().unwrap();

    let jobs =
        |result: &str| format!("vega_builder_jobs_total{{runner=\"{}\",result=\"{result}\"}}", scene.name);
    let of = |name: &str| format!("vega_builder_{name}{{runner=\"{}\"}}", scene.name);
    let text = succeeded(&scene.run(&["metrics"]).unwrap()).unwrap();
    assert!((metric(&text, &jobs("succeeded")) - metric(&text, &jobs("failed"))).abs() <= 1.0);
    assert!(metric(&text, &of("job_seconds_total")) > 2.0 && metric(&text, &of("oom_kills_total")) > 0.0);
    assert!((metric(&text, &of("memory_limit_bytes")) - f64::from(1 << 30)).abs() < 1.0);
    for counted in ["memory_bytes", "memory_peak_bytes", "cpu_seconds_total", "pids", "store_bytes"] {
        assert!(metric(&text, &of(counted)) > 0.0, "{counted}");
    }
    assert!(metric(&text, &of("online")) > 0.0);
    // GitHub knows how long they waited, and is asked once.
    let asked =
        || scene.github.requests().iter().filter(|request| request.path.contains("/actions/runs/")).count();
    assert!((metric(&text, &of("job_queue_seconds_count")) - 3.0).abs() < 0.1 && asked() == 3, "{text}");
    assert!(metric(&text, &of("job_queue_seconds_sum")) < 60.0);
    succeeded(&scene.run(&["metrics"]).unwrap()).unwrap();
    assert_eq!(asked(), 3);

    // The container is made anew: what was is still known.
    scene.up(&["--memory", "1g", "--pids", "400"]).unwrap();
    let all = events(&scene);
    assert_eq!((count(&all, "job-ended"), count(&all, "started")), (3, 2));
    scene.down().unwrap();
}

#[test]
fn podman_metrics_are_served_on_loopback_alone_and_written_whole() {
    let scene = Scene::new("numbers").unwrap();
    let open = scene.run(&["metrics", "--listen", "0.0.0.0:9478"]).unwrap();
    assert!(
        !open.status.success()
            && String::from_utf8_lossy(&open.stderr).contains("not of this host's loopback")
    );
    let file = scene.folder.path().join("vega-builder.prom");
    succeeded(&scene.run(&["metrics", "--textfile", file.to_str().unwrap()]).unwrap()).unwrap();
    assert!(std::fs::read_to_string(&file).unwrap().contains("vega_builder_runners 0"));

    scene.up(&[]).unwrap();
    let of = |name: &str| format!("vega_builder_{name}{{runner=\"{}\"}}", scene.name);
    let written = || {
        succeeded(&scene.run(&["metrics", "--textfile", file.to_str().unwrap()]).unwrap()).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        ["online", "busy", "drained"].map(|name| metric(&text, &of(name)) > 0.0)
    };
    assert_eq!(written(), [true, false, false]);
    let job = scene.github.enqueue(Job::push(
        &scene.repository,
        "job",
        &["self-hosted", "vega"],
        "echo AT WORK; sleep 5",
    ));
    scene.github.until(PATIENCE, || scene.github.log_so_far(job).contains("AT WORK")).unwrap();
    scene.github.until(PATIENCE, || written() == [true, true, false]).unwrap();
    scene.github.wait(job, PATIENCE).unwrap();
    succeeded(&scene.run(&["drain", &scene.name, "--output", "json"]).unwrap()).unwrap();
    assert_eq!(written(), [false, false, true]);
    succeeded(&scene.run(&["resume", &scene.name]).unwrap()).unwrap();
    scene.until_online(true).unwrap();
    let mut serving =
        scene.command(&["metrics", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(serving.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.trim().trim_start_matches("metrics at http://").trim_end_matches("/metrics").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("text/plain; version=0.0.4") && answer.contains("vega_builder_online{"),
        "{answer}"
    );
    serving.kill().unwrap();
    serving.wait().unwrap();
    scene.down().unwrap();
}

#[test]
fn podman_a_status_that_is_watched_shows_what_changes_and_a_log_that_is_followed_what_is_said() {
    let scene = Scene::new("watched").unwrap();
    scene.up(&[]).unwrap();
    let follow = |arguments: &[&str]| {
        let mut command = scene.command(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        (child, lines)
    };
    let (mut watching, mut shown) = follow(&["status", &scene.name, "--watch", "1"]);
    // A minute of lines, and more.
    let mut until = |what: &str| {
        let mut lines = shown.by_ref().take(2000);
        assert!(lines.any(|line| line.trim_start().starts_with("runner") && line.contains(what)), "{what}");
    };
    until("listening since");
    let (mut following, mut said) = follow(&["logs", &scene.name, "--follow", "--lines", "1"]);
    let script = "echo AT WORK; sleep 4";
    let job = Job::push(&scene.repository, "watched-job", &["self-hosted", "vega"], script);
    let job = scene.github.enqueue(job);
    until("busy (running watched-job) since");
    scene.github.wait(job, PATIENCE).unwrap();
    until("listening since");
    let mut said = said.by_ref().take(200);
    assert!(said.any(|line| line.contains("Job watched-job completed with result: Succeeded")));
    for child in [&mut watching, &mut following] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = succeeded(&scene.run(&["logs", &scene.name, "--lines", "1"]).unwrap()).unwrap();
    assert_eq!(last.lines().count(), 1, "{last}");
    scene.down().unwrap();
}

#[test]
fn podman_a_hostile_job_writes_no_event_and_makes_no_label() {
    let scene = Scene::new("forged").unwrap();
    scene.up(&[]).unwrap();
    let script = "for way in /home/runner/actions-runner/.vega/events.jsonl /home/runner/actions-runner/.vega/totals.json; do \
                  echo '{\"at\":\"2026-11-26T00:00:00Z\",\"event\":\"drained\"}' >>$way && echo FORGED; done; \
                  mv /home/runner/actions-runner/.vega /home/runner/actions-runner/_work/x && echo MOVED; \
                  ls /home/runner/actions-runner/.vega && echo READ; \
                  for listener in $(pgrep Runner.Listener); do for fd in 1 2; do \
                  for i in 1 2 3; do echo '2026-11-26 00:00:00Z: Running job: forged' >/proc/$listener/fd/$fd; \
                  echo '2026-11-26 00:00:00Z: Job evil completed with result: Splendid' >/proc/$listener/fd/$fd; done; done; done; \
                  sleep 2; true";
    let job = Job::push(&scene.repository, "evil\"} 1", &["self-hosted", "vega"], script);
    let outcome = scene.github.wait(scene.github.enqueue(job), PATIENCE).unwrap();
    for word in ["FORGED", "MOVED", "READ"] {
        assert!(!outcome.log.contains(word), "{}", outcome.log);
    }
    scene.github.until(PATIENCE, || count(&events(&scene), "job-ended") == 1).unwrap();
    scene.job("true").unwrap();
    let all = events(&scene);
    assert_eq!((count(&all, "drained"), count(&all, "job-started")), (0, 2), "{all:?}");
    let text = succeeded(&scene.run(&["metrics"]).unwrap()).unwrap();
    assert!(!text.contains("evil") && !text.contains("plendid"), "{text}");
    scene.down().unwrap();
}

/// The doctor's findings about something, as `level what next`.
fn findings(scene: &Scene, subject: &str, about: &str) -> Vec<String> {
    let output = scene.run(&["doctor", subject, "--output", "json"]).unwrap();
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = all.iter().filter(|finding| finding["about"] == about);
    of.map(|finding| format!("{} {} {}", finding["level"], finding["what"], finding["next"])).collect()
}

const WORKFLOW: &str = "\
on: push
jobs:
  heavy: {runs-on: [self-hosted, vega]}
  also: {runs-on: vega}
  gpu: {runs-on: [self-hosted, gpu]}
  elsewhere: {runs-on: ubuntu-latest}
";
const REVIEWED: &str = "on: pull_request\njobs:\n  review: {runs-on: [self-hosted, vega]}\n";

#[test]
fn podman_the_doctor_says_which_jobs_will_come_and_what_is_wrong_with_the_next_command() {
    let scene = Scene::new("doctor").unwrap();
    scene.github.change(&scene.repository, |hosted| {
        hosted.file("main", ".github/workflows/ci.yml", WORKFLOW);
        hosted.file("main", ".github/workflows/review.yml", REVIEWED);
    });
    // Before the first `up`.
    let coming = findings(&scene, &scene.repository, "workflows");
    assert!(
        coming[0].contains("these 3 jobs of") && coming[0].contains("heavy (.github/workflows/ci.yml:3)"),
        "{coming:?}"
    );
    let never = |words: &[&str]| coming.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        never(&["gpu (.github/workflows/ci.yml:5) will never come here", "has not the label gpu"]),
        "{coming:?}"
    );
    assert!(
        never(&["review (.github/workflows/review.yml:3)", "takes no 'pull_request' events"]),
        "{coming:?}"
    );
    assert!(!never(&["elsewhere"]), "{coming:?}");

    scene.github.change(&scene.repository, |hosted| {
        hosted.file(
            "main",
            ".github/workflows/review.yml",
            "on: push\njobs: {x: {runs-on: ubuntu-latest}}\n",
        );
    });
    scene.up(&[]).unwrap();
    scene.github.end_version(Some(jiff::Timestamp::now() + Duration::from_secs(3 * 86400 + 60)));
    let text = succeeded(&scene.run(&["doctor", &scene.name]).unwrap()).unwrap();
    for words in [
        "this host",
        "cgroups     version ",
        "is what runs, signed by https://github.com/",
        "sees the runners of",
        "as online, idle",
        "agrees with GitHub's",
        "GitHub's runner 2.336.0: GitHub sends it no job after",
        "next: `vega-builder update",
        "in force: memory 2 GiB",
    ] {
        assert!(text.contains(words), "'{words}' is missing in:\n{text}");
    }
    // A token that may look and not touch.
    scene.github.fault(Fault::status("POST", "/generate-jitconfig", 403, &[]));
    let token = findings(&scene, &scene.name, "token");
    assert!(token[0].contains("wrong") && token[0].contains("may not register one"), "{token:?}");
    assert!(token[0].contains("gh auth login"), "{token:?}");
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (1, 1), "it changed something");
    // What is wrong is told by the exit code too.
    scene.engine.said(&["stop", "--time", "10", &scene.name]).unwrap();
    let stopped = scene.run(&["doctor", &scene.name]).unwrap();
    let said = String::from_utf8_lossy(&stopped.stdout).into_owned();
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("✗") && said.contains(&format!("`vega-builder logs {}`", scene.name)), "{said}");
    scene.down().unwrap();
}

#[test]
fn podman_the_doctor_and_status_know_an_ephemeral_runner_by_those_of_its_jobs() {
    let scene = Scene::new("doctor-slots").unwrap();
    let slots = Slots::start(&scene, 1, "").unwrap();
    slots.until_online(1).unwrap();
    scene.github.end_version(Some(jiff::Timestamp::now() + Duration::from_secs(3 * 86400 + 60)));
    let github = findings(&scene, &scene.name, "GitHub");
    assert!(github[0].contains("fine") && github[0].contains(".job-"), "{github:?}");
    let version = findings(&scene, &scene.name, "version");
    assert!(version[0].contains("GitHub sends it no job after"), "{version:?}");
    slots.end().unwrap();
}
