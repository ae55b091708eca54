//! What GitHub knows: repositories, tokens, runners, their sessions, and jobs.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use rand::{Rng as _, distr::Alphanumeric};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{App, Group, Job, Outcome, hosted::Hosted, runs::Way};

/// A session that nobody polled for this long is over.
const SESSION_LAPSE: Duration = Duration::from_secs(3);

/// So long a job's runner may say nothing.
const JOB_LAPSE: Duration = Duration::from_secs(15);

/// A runner as GitHub lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerInfo {
    pub id: u64,
    pub repository: String,
    pub name: String,
    pub labels: Vec<String>,
    pub ephemeral: bool,
    /// The organisation's group that it is in.
    #[serde(default)]
    pub group: Option<String>,
    /// The version of its program, once it has connected.
    #[serde(default)]
    pub version: Option<String>,
    /// What the runner proves itself with.
    pub credential: String,
}

/// What outlives the server, in its state file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    pub runners: Vec<RunnerInfo>,
    pub next_id: u64,
    pub minted: Vec<String>,
}

struct Token {
    repository: String,
    lapses: Timestamp,
}

struct Session {
    id: String,
    runner: u64,
    seen: Instant,
    busy: bool,
}

#[derive(Default)]
pub struct State {
    pub kept: Kept,
    pub file: Option<PathBuf>,
    pub repositories: BTreeMap<String, Hosted>,
    /// Organisation → its groups of runners, where a test has said so.
    pub groups: BTreeMap<String, Vec<Group>>,
    /// The server's own address.
    pub url: String,
    tokens: BTreeMap<String, Token>,
    sessions: Vec<Session>,
    waiting: Vec<(u64, Job)>,
    running: BTreeMap<u64, (u64, Outcome)>,
    ended: BTreeMap<u64, Outcome>,
    /// Since when nothing was heard of who runs a job.
    unheard: BTreeMap<u64, Instant>,
    ways: BTreeMap<u64, Way>,
    next_job: u64,
    /// GitHub serves this version of the runner no more.
    pub refuses_version: bool,
    /// From when on it serves no version of the runner.
    pub version_ends: Option<Timestamp>,
    /// The one App that there is.
    pub app: Option<App>,
}

pub fn random(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

impl State {
    pub fn new(kept: Kept, file: Option<PathBuf>) -> Self {
        Self { kept, file, ..Self::default() }
    }

    /// GitHub knows a repository in any letters.
    pub fn hosted(&self, repository: &str) -> Option<&Hosted> {
        let is_it = |(known, _): &(&String, &Hosted)| known.eq_ignore_ascii_case(repository);
        self.repositories.iter().find(is_it).map(|(_, hosted)| hosted)
    }

    /// The groups of an organisation's runners, the default one first.
    pub fn groups(&self, organization: &str) -> Vec<Group> {
        let known = self.groups.iter().find(|(name, _)| name.eq_ignore_ascii_case(organization));
        known.map_or_else(|| vec![Group::new("Default")], |(_, groups)| groups.clone())
    }

    /// Whether a runner takes a repository's jobs: as its own, or as one of its organisation's.
    fn serves(&self, runner: &RunnerInfo, repository: &str) -> bool {
        let Some((owner, name)) = repository.split_once('/') else { return false };
        if runner.repository.contains('/') {
            return runner.repository.eq_ignore_ascii_case(repository);
        }
        let groups = self.groups(&runner.repository);
        let group = match &runner.group {
            Some(wanted) => groups.iter().find(|group| group.name.eq_ignore_ascii_case(wanted)),
            None => groups.first(),
        };
        let private = self.hosted(repository).is_some_and(|hosted| hosted.private);
        runner.repository.eq_ignore_ascii_case(owner)
            && group.is_some_and(|group| group.serves(name, private))
    }

    pub fn save(&self) {
        if let Some(file) = &self.file
            && let Ok(text) = serde_json::to_vec(&self.kept)
        {
            let _ = std::fs::write(file, text);
        }
    }

    /// A token for registering runners at one repository: as long as GitHub's, in its alphabet.
    pub fn mint(&mut self, repository: &str) -> Value {
        let token = random(29).to_uppercase();
        let lapses = Timestamp::now() + SignedDuration::from_hours(1);
        self.tokens.insert(token.clone(), Token { repository: repository.to_owned(), lapses });
        self.kept.minted.push(token.clone());
        self.save();
        json!({ "token": token, "expires_at": lapses.round(jiff::Unit::Second).unwrap_or(lapses).to_string() })
    }

    /// Which repository a registration token is for, when it is good.
    pub fn redeem(&self, token: &str) -> Option<String> {
        let token = self.tokens.get(token)?;
        (token.lapses > Timestamp::now()).then(|| token.repository.clone())
    }

    pub fn runner(&self, repository: &str, id: u64) -> Option<&RunnerInfo> {
        self.kept.runners.iter().find(|runner| runner.id == id && runner.repository == repository)
    }

    pub fn named(&self, repository: &str, name: &str) -> Option<&RunnerInfo> {
        self.kept.runners.iter().find(|runner| runner.name == name && runner.repository == repository)
    }

    pub fn add(
        &mut self,
        repository: &str,
        name: &str,
        labels: &[String],
        ephemeral: bool,
        group: Option<&str>,
    ) -> RunnerInfo {
        self.kept.next_id += 1;
        // GitHub gives these to every runner.
        let mut all: Vec<String> = ["self-hosted", "Linux", "X64"].map(str::to_owned).to_vec();
        all.extend(labels.iter().filter(|l| !l.eq_ignore_ascii_case("self-hosted")).cloned());
        let runner = RunnerInfo {
            id: self.kept.next_id,
            repository: repository.to_owned(),
            name: name.to_owned(),
            labels: all,
            ephemeral,
            group: group.map(str::to_owned),
            version: None,
            credential: random(40),
        };
        self.kept.runners.push(runner.clone());
        self.save();
        runner
    }

    /// Whether there was such a runner.
    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.kept.runners.len();
        self.kept.runners.retain(|runner| runner.id != id);
        self.sessions.retain(|session| session.runner != id);
        self.save();
        self.kept.runners.len() < before
    }

    fn session_of(&self, runner: u64) -> Option<&Session> {
        self.sessions.iter().find(|s| s.runner == runner && s.seen.elapsed() < SESSION_LAPSE)
    }

    pub fn listed(&self, runner: &RunnerInfo) -> Value {
        let session = self.session_of(runner.id);
        let labels: Vec<Value> = runner
            .labels
            .iter()
            .enumerate()
            .map(|(n, name)| json!({ "id": n + 1, "name": name, "type": if n < 3 { "read-only" } else { "custom" } }))
            .collect();
        json!({
            "id": runner.id,
            "name": runner.name,
            "os": "linux",
            "status": if session.is_some() { "online" } else { "offline" },
            "busy": session.is_some_and(|session| session.busy),
            "ephemeral": runner.ephemeral,
            "version": runner.version,
            "labels": labels,
        })
    }

    pub fn is_online(&self, id: u64) -> bool {
        self.session_of(id).is_some()
    }

    /// A session for this runner, unless another live process has one.
    pub fn open_session(&mut self, runner: u64) -> Option<String> {
        if self.session_of(runner).is_some() {
            return None;
        }
        self.sessions.retain(|session| session.runner != runner);
        let id = random(20);
        self.sessions.push(Session { id: id.clone(), runner, seen: Instant::now(), busy: false });
        Some(id)
    }

    pub fn close_session(&mut self, id: &str) {
        self.sessions.retain(|session| session.id != id);
    }

    /// The runner of a live session, which is seen hereby.
    pub fn seen(&mut self, id: &str) -> Option<u64> {
        let session = self.sessions.iter_mut().find(|session| session.id == id)?;
        session.seen = Instant::now();
        Some(session.runner)
    }

    pub fn enqueue(&mut self, job: Job) -> u64 {
        self.next_job += 1;
        let way = Way {
            repository: job.repository.clone(),
            name: job.name.clone(),
            labels: job.labels.clone(),
            created: Timestamp::now(),
            started: None,
            ended: None,
        };
        self.ways.insert(self.next_job, way);
        self.waiting.push((self.next_job, job));
        self.next_job
    }

    /// The next job for this runner, which is busy from now on.
    pub fn claim(&mut self, session: &str, runner: u64) -> Option<(u64, Job)> {
        let info = self.kept.runners.iter().find(|info| info.id == runner)?.clone();
        let fits = |(_, job): &(u64, Job)| self.serves(&info, &job.repository) && job.runs_on(&info.labels);
        let position = self.waiting.iter().position(fits)?;
        let (id, job) = self.waiting.remove(position);
        if let Some(way) = self.ways.get_mut(&id) {
            way.started = Some((runner, info.name.clone(), Timestamp::now()));
        }
        self.running.insert(id, (runner, Outcome { runner: info.name, ..Outcome::default() }));
        if let Some(session) = self.sessions.iter_mut().find(|one| one.id == session) {
            session.busy = true;
        }
        Some((id, job))
    }

    pub fn log(&mut self, job: u64, text: &str) {
        if let Some((_, outcome)) = self.running.get_mut(&job) {
            outcome.log.push_str(text);
        }
    }

    pub fn finish(&mut self, job: u64, result: &str) {
        let Some((runner, mut outcome)) = self.running.remove(&job) else { return };
        result.clone_into(&mut outcome.result);
        if let Some(way) = self.ways.get_mut(&job) {
            way.ended = Some((result.to_owned(), Timestamp::now()));
        }
        self.ended.insert(job, outcome);
        if let Some(session) = self.sessions.iter_mut().find(|session| session.runner == runner) {
            session.busy = false;
        }
        if self.kept.runners.iter().any(|info| info.id == runner && info.ephemeral) {
            self.remove(runner);
        }
    }

    pub fn way(&self, job: u64) -> Option<&Way> {
        self.ways.get(&job)
    }

    /// A job whose runner was not heard of for long has failed (the real one waits for minutes).
    fn give_up_lost(&mut self) {
        let is_heard = |of: u64| {
            self.sessions.iter().any(|one| one.runner == of && one.busy && one.seen.elapsed() < SESSION_LAPSE)
        };
        let unheard: Vec<u64> =
            self.running.iter().filter(|(_, (runner, _))| !is_heard(*runner)).map(|(job, _)| *job).collect();
        self.unheard.retain(|job, _| unheard.contains(job));
        for job in unheard {
            if self.unheard.entry(job).or_insert_with(Instant::now).elapsed() > JOB_LAPSE {
                self.log(job, "##[error]The self-hosted runner lost communication with the server.");
                self.finish(job, "Failed");
            }
        }
    }

    pub fn outcome(&mut self, job: u64) -> Option<Outcome> {
        self.give_up_lost();
        self.ended.get(&job).cloned()
    }

    /// What a job that runs has said so far.
    pub fn log_so_far(&self, job: u64) -> String {
        let running = self.running.get(&job).map(|(_, outcome)| outcome.log.clone());
        running.or_else(|| self.ended.get(&job).map(|outcome| outcome.log.clone())).unwrap_or_default()
    }
}
