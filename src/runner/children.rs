//! The children of PID 1: its own, whose end it waits for, and orphans, which it only buries.
//!
//! Whoever waits for a child of ours must find its status; a blanket `waitpid(-1)` would take it away. So
//! starting a child and burying a stranger exclude each other, and the gravedigger looks before it takes.

use std::{
    collections::BTreeSet,
    io,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::Pid,
};

/// The process ids that somebody here waits for.
static OURS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn ours() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    // A panic elsewhere leaves the set as true as before.
    OURS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap_or(i32::MAX)
}

/// Start a child whose end somebody here will ask for.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut ours = ours();
    let child = command.spawn()?;
    ours.insert(pid(&child));
    Ok(child)
}

/// How the child ended, when it has.
pub fn ended(child: &mut Child) -> Option<ExitStatus> {
    let status = child.try_wait().ok()??;
    ours().remove(&pid(child));
    Some(status)
}

/// Run a command to its end and take its output.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let id = pid(&child);
    let output = child.wait_with_output();
    ours().remove(&id);
    output
}

/// Ask the child to end; after `patience`, kill it.
pub fn terminate(child: &mut Child, signal: Signal, patience: Duration) -> Option<ExitStatus> {
    let _ = kill(Pid::from_raw(pid(child)), signal);
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = ended(child) {
            return Some(status);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let status = child.wait().ok();
            ours().remove(&pid(child));
            return status;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Bury every orphan that has ended; PID 1 inherits them.
pub fn reap_orphans() {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        let ours = ours();
        // Looks at one that has ended without taking it; the one whom somebody waits for ends this round.
        let Ok(WaitStatus::Exited(ended, _) | WaitStatus::Signaled(ended, _, _)) = waitid(Id::All, flags)
        else {
            return;
        };
        if ours.contains(&ended.as_raw()) {
            return;
        }
        let _ = waitpid(ended, Some(WaitPidFlag::WNOHANG));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{output, reap_orphans};

    #[test]
    fn the_gravedigger_leaves_the_status_of_our_own_children() {
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    reap_orphans();
                }
            });
            for code in 0..40 {
                let result = output(Command::new("sh").args(["-c", &format!("exit {code}")]));
                assert_eq!(result.unwrap().status.code(), Some(code));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}
