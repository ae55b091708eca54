//! Which job builds: told by its first hook, before any of its steps, and written down by root. What a step says later
//! is not heard.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A job in GitHub's own words: what its `GITHUB_…` variables say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Job(BTreeMap<String, String>);

const VARIABLES: [&str; 10] = [
    "GITHUB_SERVER_URL",
    "GITHUB_REPOSITORY",
    "GITHUB_WORKFLOW",
    "GITHUB_WORKFLOW_REF",
    "GITHUB_RUN_ID",
    "GITHUB_RUN_ATTEMPT",
    "GITHUB_JOB",
    "GITHUB_SHA",
    "GITHUB_REF",
    "GITHUB_EVENT_NAME",
];
/// More than a job's variables take.
const LONGEST: u64 = 16 << 10;
/// Nobody is waited for longer: the job goes on, and nobody knows whose builds those are.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a fault that may pass.
const PAUSE: Duration = Duration::from_millis(50);

impl Job {
    pub fn of_environment() -> Self {
        let variable = |name: &&str| Some(((*name).to_owned(), env::var(name).ok()?));
        Self(VARIABLES.iter().filter_map(variable).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The page of its run.
    pub fn run_url(&self) -> Option<String> {
        let (server, repository) = (self.get("GITHUB_SERVER_URL")?, self.get("GITHUB_REPOSITORY")?);
        let attempt = self.get("GITHUB_RUN_ATTEMPT").unwrap_or("1");
        Some(format!("{server}/{repository}/actions/runs/{}/attempts/{attempt}", self.get("GITHUB_RUN_ID")?))
    }

    /// Tell it to whoever listens there, and wait until it is written down.
    pub fn tell(&self, socket: &Path) -> io::Result<()> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&serde_json::to_vec(self)?)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map(drop)
    }

    /// What root has written down.
    pub fn read(file: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }
}

/// Where a job is told of: from the beginning of a listener's life until the first one has spoken. Afterwards nobody is
/// there, and nothing that a step could speak to.
pub struct Desk {
    listener: UnixListener,
    socket: PathBuf,
    hearing: Option<JoinHandle<()>>,
}

impl Desk {
    /// Everybody may come; the first one is written down.
    pub fn open(socket: &Path, file: &Path) -> io::Result<Self> {
        super::gone(fs::remove_file(socket))?;
        let listener = UnixListener::bind(socket)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o666))?;
        let (heard, at, file) = (listener.try_clone()?, socket.to_owned(), file.to_owned());
        let hearing = thread::spawn(move || hear(&heard, &at, &file));
        Ok(Self { listener, socket: socket.to_owned(), hearing: Some(hearing) })
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // A socket is shut down as one that is connected is: whoever waits for somebody to come waits no longer.
        if let Ok(socket) = self.listener.try_clone() {
            let _ = UnixStream::from(OwnedFd::from(socket)).shutdown(Shutdown::Both);
        }
        let _ = self.hearing.take().map(JoinHandle::join);
        let _ = fs::remove_file(&self.socket);
    }
}

fn hear(listener: &UnixListener, socket: &Path, file: &Path) {
    loop {
        match listener.accept() {
            // One that says nothing holds nobody up for long.
            Ok((stream, _)) => {
                if hear_one(&stream, file).is_ok() {
                    // Before it is told that it was heard.
                    let _ = fs::remove_file(socket);
                    return;
                }
            }
            Err(why) if why.kind() == io::ErrorKind::InvalidInput => return,
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn hear_one(stream: &UnixStream, file: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut text = Vec::new();
    stream.take(LONGEST).read_to_end(&mut text)?;
    let Job(told) = serde_json::from_slice(&text)?;
    let is_fine = |name: &str, value: &str| {
        VARIABLES.contains(&name) && value.len() < 1000 && !value.chars().any(char::is_control)
    };
    let job = Job(told.into_iter().filter(|(name, value)| is_fine(name, value)).collect());
    let beside = file.with_extension("new");
    fs::write(&beside, serde_json::to_vec(&job)?)?;
    fs::rename(beside, file)
}

#[cfg(test)]
mod tests {
    use super::{Desk, Job, UnixStream};

    #[test]
    fn a_step_that_says_it_is_another_job_finds_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, file) = (folder.path().join("sock"), folder.path().join("job.json"));
        let job = |run: &str| {
            Job([("GITHUB_RUN_ID".to_owned(), run.to_owned()), ("EVIL".to_owned(), "x".to_owned())].into())
        };
        let desk = Desk::open(&socket, &file).unwrap();
        // Who comes and says nothing, or nonsense, is not it.
        drop(UnixStream::connect(&socket).unwrap());
        job("1").tell(&socket).unwrap();
        let kept = Job::read(&file).unwrap();
        assert_eq!((kept.get("GITHUB_RUN_ID"), kept.get("EVIL")), (Some("1"), None));
        assert!(!socket.exists() && job("2").tell(&socket).is_err());
        drop(desk);
        // The next job's life begins; and one ends without a job.
        std::fs::remove_file(&file).unwrap();
        drop(Desk::open(&socket, &file).unwrap());
        assert!(!socket.exists() && !file.exists());
        let _desk = Desk::open(&socket, &file).unwrap();
        job("3").tell(&socket).unwrap();
        assert_eq!(Job::read(&file).unwrap().get("GITHUB_RUN_ID"), Some("3"));
    }
}
