//! The children of PID 1: its own, whose end somebody here asks for, and orphans, which it only buries.
//!
//! Everybody is buried by one gravedigger, who keeps the statuses of our own until they are asked for: a
//! child of ours that has ended never stands before the orphans that ended after it.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::stop;

/// How often a child that is waited for is looked at.
const TICK: Duration = Duration::from_millis(10);
/// How long output is waited for after its writer has ended: a grandchild may hold the pipe for ever.
const ECHO: Duration = Duration::from_secs(1);
/// More than a command of ours says; one that says more is not heard to its end.
const LONGEST: u64 = 32 << 20;

/// What a pipe holds, whether somebody reads or not.
const LITTLE: u64 = 4096;

/// Our own children, and how they ended.
static OURS: Mutex<BTreeMap<i32, Option<ExitStatus>>> = Mutex::new(BTreeMap::new());

fn ours() -> MutexGuard<'static, BTreeMap<i32, Option<ExitStatus>>> {
    // A panic elsewhere leaves the map as true as before.
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child whose end somebody here asks for.
pub struct Child {
    pid: i32,
    status: Option<ExitStatus>,
    pub stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

/// Start a child whose end somebody here will ask for.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    // Held while it starts: nobody buries a child of ours before it is known as one.
    let mut ours = ours();
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    ours.insert(pid, None);
    Ok(Child {
        pid,
        status: None,
        stdin: child.stdin.take(),
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
    })
}

impl Child {
    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            let mut ours = ours();
            bury(&mut ours);
            let known = ours.get(&self.pid).copied().flatten();
            // A signal without a name (a real-time one) ends a process whose status cannot be told: it is
            // gone all the same.
            let gone = || kill(Pid::from_raw(self.pid), None) == Err(Errno::ESRCH);
            self.status = known.or_else(|| gone().then(|| ExitStatus::from_raw(Signal::SIGKILL as i32)));
            if self.status.is_some() {
                ours.remove(&self.pid);
            }
        }
        self.status
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn signal(&mut self, signal: Signal) {
        // Not one that was buried: its number may be another process's by now.
        if self.ended().is_none() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// The little that it has said, once it has ended.
    pub fn said(&mut self) -> String {
        let mut text = Vec::new();
        if let Some(stdout) = self.stdout.take() {
            let _ = stdout.take(LITTLE).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Wait for its end for at most `patience`, or until told to stop.
    fn wait(&mut self, patience: Duration, heed_stop: bool) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() >= deadline || (heed_stop && stop::ordered()) {
                return None;
            }
            thread::sleep(TICK);
        }
    }

    /// Ask it to end; after `patience`, kill it.
    pub fn terminate(&mut self, signal: Signal, patience: Duration) -> Option<ExitStatus> {
        self.signal(signal);
        self.wait(patience, false).or_else(|| {
            self.signal(Signal::SIGKILL);
            self.wait(Duration::from_secs(5), false)
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nobody will ask any more: an orphan like any other.
        ours().remove(&self.pid);
    }
}

/// Bury everybody who has ended.
pub fn reap() {
    bury(&mut ours());
}

fn bury(ours: &mut BTreeMap<i32, Option<ExitStatus>>) {
    loop {
        let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, ExitStatus::from_raw(code << 8)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, ExitStatus::from_raw(signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            // Interrupted, or ended by a signal without a name: the next one.
            Ok(_) | Err(_) => continue,
        };
        if let Some(slot) = ours.get_mut(&pid.as_raw()) {
            *slot = Some(status);
        }
    }
}

/// Run a command to its end and take its output; an error after `patience`, and when told to stop.
pub fn output(command: &mut Command, patience: Duration) -> io::Result<Output> {
    run(command, None, patience, true)
}

/// The same with `input` on its standard input.
pub fn output_of(command: &mut Command, input: &[u8], patience: Duration) -> io::Result<Output> {
    run(command, Some(input), patience, true)
}

/// The same for what must be done even when told to stop.
pub fn finish(command: &mut Command, patience: Duration) -> io::Result<Output> {
    run(command, None, patience, false)
}

fn run(
    command: &mut Command,
    input: Option<&[u8]>,
    patience: Duration,
    heed_stop: bool,
) -> io::Result<Output> {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    // A group of its own: what it starts ends with it.
    let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0))?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        stdin.write_all(input)?;
    }
    let (stdout, stderr) = (child.stdout.take().map(hear), child.stderr.take().map(hear));
    let status = child.wait(patience, heed_stop);
    if status.is_none() {
        let _ = killpg(Pid::from_raw(child.pid), Signal::SIGKILL);
        child.signal(Signal::SIGKILL);
        child.wait(Duration::from_secs(5), false);
    }
    match status {
        Some(status) => Ok(Output { status, stdout: heard(stdout), stderr: heard(stderr) }),
        None if heed_stop && stop::ordered() => {
            Err(io::Error::new(io::ErrorKind::Interrupted, "told to stop"))
        }
        None => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it did not end within {} s", patience.as_secs()),
        )),
    }
}

/// Run a command to its end, with what it says read as it comes: what was made of that, and how it ended.
pub fn read<T>(command: &mut Command, reader: impl FnOnce(ChildStdout) -> T) -> io::Result<(T, Output)> {
    let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0))?;
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
    let stderr = child.stderr.take().map(hear);
    let read = reader(stdout);
    let status = child.wait(ECHO * 10, false).ok_or(io::ErrorKind::TimedOut)?;
    Ok((read, Output { status, stdout: Vec::new(), stderr: heard(stderr) }))
}

type Hearing = (Arc<Mutex<Vec<u8>>>, JoinHandle<()>);

/// Read in a thread of its own, which is left alone when the pipe never ends.
fn hear(pipe: impl Read + Send + 'static) -> Hearing {
    let text = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&text);
    let listening = thread::spawn(move || {
        let mut pipe = pipe.take(LONGEST);
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            shared.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
        }
    });
    (text, listening)
}

fn heard(hearing: Option<Hearing>) -> Vec<u8> {
    let Some((text, listening)) = hearing else { return Vec::new() };
    let deadline = Instant::now() + ECHO;
    while !listening.is_finished() && Instant::now() < deadline {
        thread::sleep(TICK / 10);
    }
    std::mem::take(&mut *text.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        sync::atomic::{AtomicBool, Ordering},
        time::{Duration, Instant},
    };

    use super::{output, reap, spawn};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_gravedigger_leaves_the_status_of_our_own_children() {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    reap();
                }
            });
            for code in 0..40 {
                let result = output(&mut sh(&format!("exit {code}")), PATIENCE);
                assert_eq!(result.unwrap().status.code(), Some(code));
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_child_of_ours_that_nobody_asked_for_yet_does_not_stand_before_the_others() {
        let mut first = spawn(&mut sh("exit 3")).unwrap();
        let mut second = spawn(&mut sh("exit 4")).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while second.ended().is_none() {
            assert!(Instant::now() < deadline);
            reap();
        }
        assert_eq!(second.ended().and_then(|status| status.code()), Some(4));
        while first.ended().is_none() {}
        assert_eq!(first.ended().and_then(|status| status.code()), Some(3));
    }

    #[test]
    fn a_child_that_a_signal_without_a_name_ended_is_gone_all_the_same() {
        let mut child = spawn(&mut sh("kill -40 $$; sleep 20")).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while child.ended().is_none() {
            assert!(Instant::now() < deadline);
        }
    }

    #[test]
    fn a_grandchild_that_holds_the_pipe_and_a_child_that_never_ends_are_not_waited_for() {
        let began = Instant::now();
        let said = output(&mut sh("echo said; sleep 60 &"), PATIENCE).unwrap();
        assert_eq!(said.stdout, b"said\n");
        let error = output(&mut sh("sleep 60"), Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert!(began.elapsed() < PATIENCE);
    }
}
