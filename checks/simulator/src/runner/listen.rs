use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{StatusCode, blocking::Client};
use serde_json::Value;

use super::{
    Code, VERSION, WORKER,
    root::Saved,
    wire::{client, post},
};
use crate::github::protocol::{Assigned, SessionRequest};

/// How long another live session is waited for (the real one: four minutes).
const CONFLICT: Duration = Duration::from_secs(4);

/// Listen for jobs until told to end, or for one.
pub fn listen(once: bool) -> anyhow::Result<Code> {
    let saved = Saved::load()?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let client = client()?;
    if once {
        println!(
            "Warning: '--once' is going to be deprecated in the future, please consider using '--ephemeral' during runner registration."
        );
    }
    println!("\n√ Connected to GitHub\n");
    println!("Current runner version: '{VERSION}'");
    let mut session = match open(&client, &saved, &stop)? {
        Ok(session) => session,
        Err(code) => return Ok(code),
    };
    say("Listening for Jobs");
    let mut cut = false;
    while !stop.load(Ordering::Relaxed) {
        let reply = client.post(format!("{}/_runner/sessions/{session}/poll", saved.server)).send();
        match reply.map(|reply| (reply.status(), reply)) {
            Ok((StatusCode::OK, reply)) => {
                run(&client, &saved, &session, &reply.json()?, &stop)?;
                if saved.ephemeral || once {
                    return Ok(goodbye(&client, &saved, &session));
                }
            }
            Ok((StatusCode::ACCEPTED, _)) => {
                if std::mem::take(&mut cut) {
                    say("Runner reconnected.");
                }
            }
            // A word that the real server never says: it has the stand-in hang.
            Ok((StatusCode::LOOP_DETECTED, _)) => loop {
                thread::park();
            },
            Ok((StatusCode::NOT_FOUND, _)) => match open(&client, &saved, &stop)? {
                Ok(new) => session = new,
                Err(code) => return Ok(code),
            },
            Ok(_) | Err(_) => {
                if !std::mem::replace(&mut cut, true) {
                    say(CONNECT_ERROR);
                }
                thread::sleep(Duration::from_millis(500));
            }
        }
    }
    println!("Exiting...");
    let _ = client.delete(format!("{}/_runner/sessions/{session}", saved.server)).send();
    Ok(Code::Success)
}

/// The one job is done. The real one that cannot remove its files ends with the code for another try.
fn goodbye(client: &Client, saved: &Saved, session: &str) -> Code {
    let _ = client.delete(format!("{}/_runner/sessions/{session}", saved.server)).send();
    if !saved.ephemeral {
        return Code::Success;
    }
    match saved.remove() {
        Ok(()) => Code::Success,
        Err(why) => {
            eprintln!("An error occurred: {why}");
            Code::Retry
        }
    }
}

const CONNECT_ERROR: &str = "Runner connect error: the connection was refused. Retrying until reconnected.";

fn say(what: &str) {
    println!("{}: {what}", Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ"));
}

/// A session, or the exit code that says why there is none.
fn open(client: &Client, saved: &Saved, stop: &AtomicBool) -> anyhow::Result<Result<String, Code>> {
    let request = SessionRequest {
        runner: saved.runner,
        credential: saved.credential.clone(),
        version: VERSION.to_owned(),
    };
    let deadline = Instant::now() + CONFLICT;
    let (mut told, mut cut) = (false, false);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(Err(Code::Success));
        }
        let Ok(reply) = post(client, &format!("{}/_runner/sessions", saved.server), &request) else {
            if !std::mem::replace(&mut cut, true) {
                say(CONNECT_ERROR);
            }
            thread::sleep(Duration::from_secs(1));
            continue;
        };
        match reply.status() {
            StatusCode::OK => {
                if cut {
                    say("Runner reconnected.");
                }
                let said: Value = reply.json()?;
                return Ok(Ok(said["session"].as_str().unwrap_or_default().to_owned()));
            }
            StatusCode::CONFLICT if Instant::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    say("A session for this runner already exists.");
                    say("Runner connect error: Error: Conflict. Retrying until reconnected.");
                }
                thread::sleep(Duration::from_millis(300));
            }
            StatusCode::CONFLICT => return Ok(Err(Code::SessionConflict)),
            StatusCode::NOT_FOUND => {
                println!(
                    "Failed to create a session. The runner registration has been deleted from the server, please re-configure. Runner registrations are automatically deleted for runners that have not connected to the service recently."
                );
                return Ok(Err(Code::Terminated));
            }
            StatusCode::BAD_REQUEST => {
                println!("Runner version v{VERSION} is deprecated and cannot receive messages.");
                let asked = std::env::var_os("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE");
                let asked = asked.is_some_and(|value| value == "1");
                return Ok(Err(if asked { Code::VersionDeprecated } else { Code::Terminated }));
            }
            _ => return Ok(Err(Code::Retry)),
        }
    }
}

/// One job, in a worker of its own; the session is kept alive meanwhile.
fn run(
    client: &Client,
    saved: &Saved,
    session: &str,
    assigned: &Assigned,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let name = &assigned.job.name;
    say(&format!("Running job: {name}"));
    let mut worker = start_worker(saved, assigned)?;
    let mut cancelled = false;
    while worker.try_wait()?.is_none() {
        if stop.load(Ordering::Relaxed) && !std::mem::replace(&mut cancelled, true) {
            kill(Pid::from_raw(i32::try_from(worker.id())?), Signal::SIGINT)?;
        }
        let _ = client.post(format!("{}/_runner/sessions/{session}/alive", saved.server)).send();
        for _ in 0..10 {
            if worker.try_wait()?.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    let status = worker.wait()?;
    let result = match (cancelled, status.code()) {
        (true, _) => "Canceled",
        (false, Some(0)) => "Succeeded",
        (false, _) => "Failed",
    };
    let reported = serde_json::json!({ "result": result });
    post(client, &format!("{}/_runner/jobs/{}/result", saved.server, assigned.id), &reported)?;
    say(&format!("Job {name} completed with result: {result}"));
    Ok(())
}

fn start_worker(saved: &Saved, assigned: &Assigned) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?.with_file_name(WORKER);
    let mut worker = Command::new(program)
        .args(["spawnclient", "0", "0"])
        .envs(saved.environment())
        .current_dir(&saved.root)
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = worker.stdin.take() {
        stdin.write_all(&serde_json::to_vec(assigned)?)?;
    }
    Ok(worker)
}
