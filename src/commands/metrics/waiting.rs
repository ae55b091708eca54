//! How long jobs waited for the runner: GitHub alone knows when they were asked for, and is asked once about each.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    chronicle::{Entry, Event},
    commands::steps::{happened::happened, housing::Housing, subject::Subject, token},
    config::CredentialArgs,
    engine::is_job_of,
    github::{self, GitHub, WorkflowJob},
    installation::{Installation, Places},
    value::{Repository, RunnerName},
};

/// Seconds, up to which a job counts into a bucket.
pub const BOUNDS: [f64; 10] = [2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
/// Questions in one look: the rest waits for the next.
const MOST: usize = 20;
/// After GitHub refused to answer.
const PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// The sums of all jobs that GitHub was asked about.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Waiting {
    /// The last job that was asked about.
    until: Option<Timestamp>,
    /// Not before this again: GitHub would not say.
    not_before: Option<Timestamp>,
    pub count: u64,
    pub seconds: f64,
    /// As many as bounds, each without those below it.
    pub buckets: Vec<u64>,
}

impl Waiting {
    pub fn read(of: &RunnerName) -> Self {
        fs::read(file(of)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn save(&self, of: &RunnerName) -> io::Result<()> {
        let file = file(of);
        let folder = file.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let beside = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&beside, self)?;
        beside.persist(file).map_err(|error| error.error).map(drop)
    }

    /// Learn of the jobs that ended since the last look. Nothing depends on it: without a token, or a permission to read
    /// the repository's Actions, it is not known.
    pub async fn learn(subject: &Subject, credential: &CredentialArgs) -> anyhow::Result<()> {
        let runner = &subject.known;
        let mut known = Self::read(&subject.installation.name);
        let now = Timestamp::now();
        let news = known.news(&subject.housing, &subject.installation)?;
        if news.is_empty() || known.not_before.is_some_and(|at| at > now) {
            return Ok(());
        }
        let (name, scope) = (&runner.identity.name, &runner.identity.scope);
        let credential = token::credential(credential, &runner.github, scope).await?;
        let github = GitHub::new(&runner.identity.server, scope, &credential)?;
        for (at, job, run) in news.into_iter().take(MOST) {
            if let Some((repository, run)) = parse(&run).filter(|(repository, _)| scope.holds(repository)) {
                match github.of(&repository).jobs_of(run).await {
                    Ok(jobs) => known.add(waited(&jobs, name, &job, at)),
                    // Gone with its repository, or deleted: nobody will know.
                    Err(github::Error::NotFound { .. }) => {}
                    Err(_) => {
                        known.not_before = Some(now + PAUSE);
                        break;
                    }
                }
            }
            known.until = Some(at);
        }
        Ok(known.save(name)?)
    }

    fn news(&self, housing: &Housing, of: &Installation) -> anyhow::Result<Vec<(Timestamp, String, String)>> {
        let entries = happened(housing, of)?.map(|reader| reader.entries()).unwrap_or_default();
        let ended = entries.into_iter().filter_map(|Entry { at, event }| match event {
            Event::JobEnded { job, run: Some(run), .. } => Some((at, job, run)),
            _ => None,
        });
        Ok(ended.filter(|(at, _, _)| self.until.is_none_or(|until| *at > until)).collect())
    }

    fn add(&mut self, waited: Option<SignedDuration>) {
        let Some(waited) = waited else { return };
        let seconds = waited.as_secs_f64().max(0.0);
        self.buckets.resize(BOUNDS.len(), 0);
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.seconds += seconds;
    }
}

/// It can be had again, and holds no other command up.
fn file(of: &RunnerName) -> PathBuf {
    Places::standard().cache.join(format!("waiting-{of}.json"))
}

/// From a job's creation to its start on this runner: of a matrix's jobs or a run's attempts the one that started last
/// before its end.
fn waited(jobs: &[WorkflowJob], runner: &RunnerName, job: &str, ended: Timestamp) -> Option<SignedDuration> {
    let is_it = |one: &&WorkflowJob| {
        let here = one
            .runner_name
            .as_deref()
            .is_some_and(|name| name.eq_ignore_ascii_case(runner.as_str()) || is_job_of(runner, name));
        here && one.name == job && one.started_at <= ended + SignedDuration::from_mins(1)
    };
    let job = jobs.iter().filter(is_it).max_by_key(|one| one.started_at)?;
    Some(job.started_at.duration_since(job.created_at))
}

/// `https://SERVER/OWNER/NAME/actions/runs/ID/attempts/N`
fn parse(run: &str) -> Option<(Repository, u64)> {
    let url: url::Url = run.parse().ok()?;
    let mut parts = url.path_segments()?;
    let repository = format!("{}/{}", parts.next()?, parts.next()?).parse().ok()?;
    let id = parts.skip_while(|part| *part != "runs").nth(1)?.parse().ok()?;
    Some((repository, id))
}

#[cfg(test)]
mod tests {
    use super::{Waiting, parse, waited};
    use crate::github::WorkflowJob;

    #[test]
    fn the_job_that_ran_here_counts_and_no_other_attempt() {
        let job = |name: &str, runner: &str, created: &str, started: &str| WorkflowJob {
            name: name.to_owned(),
            runner_name: Some(runner.to_owned()),
            created_at: created.parse().unwrap(),
            started_at: started.parse().unwrap(),
        };
        let jobs = [
            job("build", "vega-x", "2026-11-26T10:00:00Z", "2026-11-26T10:00:30Z"),
            job("build", "vega-x", "2026-11-26T11:00:00Z", "2026-11-26T11:00:07-00:00"),
            job("build", "other", "2026-11-26T11:10:00Z", "2026-11-26T11:10:01Z"),
            job("build", "vega-x", "2026-11-26T12:00:00Z", "2026-11-26T12:00:01Z"),
        ];
        let name = "vega-X".parse().unwrap();
        let of = |job: &str, ended: &str| waited(&jobs, &name, job, ended.parse().unwrap());
        assert_eq!(of("build", "2026-11-26T11:05:00Z").unwrap().as_secs(), 7);
        assert!(of("test", "2026-11-26T11:05:00Z").is_none());
        let mut known = Waiting::default();
        known.add(of("build", "2026-11-26T11:05:00Z"));
        known.add(of("build", "2026-11-26T10:05:00Z"));
        assert_eq!((known.count, known.seconds, known.buckets[2], known.buckets[3]), (2, 37.0, 1, 1));
    }

    #[test]
    fn a_runs_page_names_its_repository_and_number() {
        let (repository, run) =
            parse("https://github.com/octo-org/heavy/actions/runs/77/attempts/2").unwrap();
        assert_eq!((repository.to_string().as_str(), run), ("octo-org/heavy", 77));
        for wrong in ["", "https://github.com/octo-org", "https://github.com/octo-org/heavy/actions/runs/x"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
