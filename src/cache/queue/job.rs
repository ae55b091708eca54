//! Which job builds: told by its first hook, before any of its steps, and written down by root. What a step says later
//! is not heard.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
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

/// Where jobs are told of.
pub struct Desk {
    listener: UnixListener,
    file: PathBuf,
}

impl Desk {
    /// Everybody may come; the first one is written down.
    pub fn open(socket: &Path, file: &Path) -> io::Result<Self> {
        super::gone(fs::remove_file(socket))?;
        let listener = UnixListener::bind(socket)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o666))?;
        Ok(Self { listener, file: file.to_owned() })
    }

    /// Hear whoever comes, for ever. A job that is known stays who it is until PID 1 takes its file away.
    pub fn hear(&self) {
        for stream in self.listener.incoming().flatten() {
            // One that says nothing holds nobody up for long.
            let _ = self.hear_one(&stream);
        }
    }

    fn hear_one(&self, stream: &UnixStream) -> io::Result<()> {
        // Not even listened to: a job that comes and says nothing would hold the uploads up.
        if self.file.exists() {
            return Ok(());
        }
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        let mut text = Vec::new();
        stream.take(LONGEST).read_to_end(&mut text)?;
        let Job(told) = serde_json::from_slice(&text)?;
        let is_fine = |name: &str, value: &str| {
            VARIABLES.contains(&name) && value.len() < 1000 && !value.chars().any(char::is_control)
        };
        let job = Job(told.into_iter().filter(|(name, value)| is_fine(name, value)).collect());
        let beside = self.file.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&job)?)?;
        fs::rename(beside, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::{Desk, Job, UnixStream};

    #[test]
    fn a_step_that_says_it_is_another_job_is_not_heard() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, file) = (folder.path().join("sock"), folder.path().join("job.json"));
        let desk = Desk::open(&socket, &file).unwrap();
        std::thread::spawn(move || desk.hear());
        let job = |run: &str| {
            Job([("GITHUB_RUN_ID".to_owned(), run.to_owned()), ("EVIL".to_owned(), "x".to_owned())].into())
        };
        for run in ["1", "2"] {
            // Whoever comes second may find the door shut.
            let _ = job(run).tell(&socket);
        }
        // A hostile job that comes again and again and says nothing holds nobody up.
        let silent: Vec<_> = (0..50).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
        let began = std::time::Instant::now();
        let _ = job("2").tell(&socket);
        assert!(silent.len() == 50 && began.elapsed().as_millis() < 400, "{:?}", began.elapsed());
        let kept = Job::read(&file).unwrap();
        assert_eq!((kept.get("GITHUB_RUN_ID"), kept.get("EVIL")), (Some("1"), None));
        // The next job's life begins.
        std::fs::remove_file(&file).unwrap();
        job("3").tell(&socket).unwrap();
        assert_eq!(Job::read(&file).unwrap().get("GITHUB_RUN_ID"), Some("3"));
    }
}
