//! The stand-in runner keeps the real one's files, lines, exit codes and hooks.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use simulator::github::{Job, Server};

const REPOSITORY: &str = "octo/heavy";
const PATIENCE: Duration = Duration::from_secs(20);

struct Trial {
    server: Server,
    folder: tempfile::TempDir,
}

impl Trial {
    fn new() -> Self {
        let server = Server::start().unwrap();
        server.repository(REPOSITORY);
        server.credential("login", true);
        let folder = tempfile::tempdir().unwrap();
        let installed = Command::new(env!("CARGO_BIN_EXE_simulator"))
            .arg("install-runner")
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(installed.success());
        Self { server, folder }
    }

    fn listener(&self) -> Command {
        let mut command = Command::new(self.folder.path().join("bin/Runner.Listener"));
        command.current_dir(self.folder.path()).env("RUNNER_ALLOW_RUNASROOT", "1").env_remove("RUNNER_ROOT");
        command
    }

    fn token(&self) -> String {
        let url = format!("{}/repos/{REPOSITORY}/actions/runners/registration-token", self.server.url());
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let reply: serde_json::Value = client.post(url).bearer_auth("login").send().unwrap().json().unwrap();
        reply["token"].as_str().unwrap().to_owned()
    }

    fn configure(&self, more: &[&str]) -> String {
        let url = format!("{}/{REPOSITORY}", self.server.url());
        let output = self
            .listener()
            .args(["configure", "--unattended", "--replace", "--disableupdate", "--url", &url])
            .args(["--name", "one", "--labels", "vega", "--work", "_work"])
            .args(more)
            .env("ACTIONS_RUNNER_INPUT_TOKEN", self.token())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        format!("{} {said}", output.status.code().unwrap_or(-1))
    }

    fn run(&self) -> Child {
        let child = self.listener().arg("run").stdout(Stdio::piped()).spawn().unwrap();
        self.server.until(PATIENCE, || self.server.is_online("one")).unwrap();
        child
    }

    fn job(&self, script: &str) -> simulator::github::Outcome {
        let job = self.server.enqueue(Job::push(REPOSITORY, "job", &["VEGA"], script));
        self.server.wait(job, PATIENCE).unwrap()
    }
}

/// Its lines and its exit code, after a signal.
fn ended(mut child: Child, signal: Option<Signal>) -> (String, Option<i32>) {
    if let Some(signal) = signal {
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    }
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    (said, status.code())
}

#[test]
fn it_registers_runs_jobs_and_says_so_in_the_real_ones_lines() {
    let trial = Trial::new();
    assert!(trial.configure(&[]).starts_with("0 "));
    for file in [".runner", ".credentials", ".credentials_rsaparams"] {
        assert!(trial.folder.path().join(file).exists(), "{file}");
    }
    assert!(trial.configure(&[]).contains("already configured"));
    let child = trial.run();
    let outcome = trial.job("echo \"$GITHUB_EVENT_NAME $GITHUB_REPOSITORY\"; test -s \"$GITHUB_EVENT_PATH\"");
    assert_eq!(outcome.result, "Succeeded");
    assert!(outcome.log.contains("push octo/heavy"), "{}", outcome.log);
    assert_eq!(trial.job("exit 3").result, "Failed");
    let (said, code) = ended(child, Some(Signal::SIGINT));
    for line in [
        "√ Connected to GitHub",
        "Current runner version: '2.336.0'",
        "Z: Listening for Jobs",
        "Z: Running job: job",
        "Z: Job job completed with result: Succeeded",
        "Z: Job job completed with result: Failed",
    ] {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
    assert_eq!(code, Some(0));
    assert!(!trial.server.is_online("one"), "it said goodbye");
}

#[test]
fn a_bad_token_registers_nothing() {
    let trial = Trial::new();
    let said = trial.configure(&["--token", "WRONG"]);
    assert!(said.starts_with("1 ") && said.contains("404"), "{said}");
    assert!(trial.server.runners().is_empty() && !trial.folder.path().join(".runner").exists());
}

#[test]
fn a_second_session_is_a_conflict() {
    let trial = Trial::new();
    trial.configure(&[]);
    let first = trial.run();
    let second = trial.listener().arg("run").stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(ended(second, None).1, Some(5));
    ended(first, Some(Signal::SIGTERM));
}

#[test]
fn a_registration_that_was_deleted_ends_it_with_the_real_ones_words() {
    let trial = Trial::new();
    trial.configure(&[]);
    let child = trial.run();
    trial.server.forget("one");
    let (said, code) = ended(child, None);
    assert!(said.contains("The runner registration has been deleted from the server"), "{said}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_version_that_is_served_no_more_ends_with_7_when_asked() {
    let trial = Trial::new();
    trial.configure(&[]);
    trial.server.refuse_version(true);
    let mut run = trial.listener();
    run.arg("run").env("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1").stdout(Stdio::null());
    assert_eq!(run.status().unwrap().code(), Some(7));
}

#[test]
fn an_ephemeral_runner_does_one_job_and_is_gone() {
    let trial = Trial::new();
    trial.configure(&["--ephemeral"]);
    let child = trial.run();
    assert_eq!(trial.job("true").result, "Succeeded");
    assert_eq!(ended(child, None).1, Some(0));
    assert!(trial.server.runners().is_empty());
}

#[test]
fn a_started_hook_that_fails_fails_the_job_before_its_first_step() {
    let trial = Trial::new();
    trial.configure(&[]);
    let hook = trial.folder.path().join("hook.sh");
    write_script(&hook, "#!/bin/sh\necho hook saw $GITHUB_EVENT_NAME\nexit 9\n");
    let mut run = trial.listener();
    run.arg("run").env("ACTIONS_RUNNER_HOOK_JOB_STARTED", &hook).stdout(Stdio::piped());
    let child = run.spawn().unwrap();
    trial.server.until(PATIENCE, || trial.server.is_online("one")).unwrap();
    let outcome = trial.job("echo STEP");
    assert_eq!(outcome.result, "Failed");
    assert!(outcome.log.contains("hook saw push") && !outcome.log.contains("STEP"), "{}", outcome.log);
    ended(child, Some(Signal::SIGINT));
}

#[test]
fn after_a_hook_that_failed_a_step_that_says_always_runs_as_with_the_real_one() {
    let trial = Trial::new();
    trial.configure(&[]);
    let hook = trial.folder.path().join("hook.sh");
    write_script(&hook, "#!/bin/sh\nexit 9\n");
    let mut run = trial.listener();
    run.arg("run").env("ACTIONS_RUNNER_HOOK_JOB_STARTED", &hook).stdout(Stdio::piped());
    let child = run.spawn().unwrap();
    trial.server.until(PATIENCE, || trial.server.is_online("one")).unwrap();
    for (condition, runs) in [("always()", true), ("failure()", true), ("success()", false), ("true", false)]
    {
        let job = Job::push(REPOSITORY, "job", &["vega"], "echo STEP").when(condition);
        let outcome = trial.server.wait(trial.server.enqueue(job), PATIENCE).unwrap();
        assert_eq!(outcome.result, "Failed");
        assert_eq!(outcome.log.contains("STEP"), runs, "{condition}: {}", outcome.log);
    }
    ended(child, Some(Signal::SIGINT));
}

#[test]
fn a_worker_that_is_killed_is_a_failed_job_and_the_listener_goes_on() {
    let trial = Trial::new();
    trial.configure(&[]);
    let child = trial.run();
    assert_eq!(trial.job("kill -9 $PPID; sleep 20").result, "Failed");
    assert_eq!(trial.job("true").result, "Succeeded");
    let (said, _) = ended(child, Some(Signal::SIGINT));
    assert!(said.contains("Job job completed with result: Failed"), "{said}");
}

#[test]
fn once_is_one_job_and_the_registration_stays() {
    let trial = Trial::new();
    trial.configure(&[]);
    for _ in 0..2 {
        let child = trial.listener().args(["run", "--once"]).stdout(Stdio::piped()).spawn().unwrap();
        trial.server.until(PATIENCE, || trial.server.is_online("one")).unwrap();
        assert_eq!(trial.job("exit 3").result, "Failed");
        let (said, code) = ended(child, None);
        assert_eq!(code, Some(0), "{said}");
        assert!(!trial.server.is_online("one"), "it said goodbye");
    }
    assert_eq!(trial.server.runners().len(), 1);
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
