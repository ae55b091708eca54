//! Containers that take one job each: what there is of them under a runner's name.

use super::{
    Cli, Error, Inspected,
    container::{INSTANCE_LABEL, SLOT_LABEL, queue_volume, runner_volume, store_volume},
    layers::layer_volume,
};
use crate::value::RunnerName;

/// What stands between a runner's name and its job's own letters.
const INFIX: &str = ".job-";
/// The job's own letters: no two alike in a day.
const LETTERS: usize = 6;

/// What the names of all of a runner's jobs begin with, here and at GitHub.
pub fn job_prefix(runner: &RunnerName) -> String {
    format!("{runner}{INFIX}")
}

/// A name that no job has had.
pub fn new_job_name(runner: &RunnerName) -> RunnerName {
    let letters: String = (0..LETTERS).map(|_| fastrand::lowercase()).collect();
    let name = format!("{}{letters}", job_prefix(runner));
    name.parse().unwrap_or_else(|_| unreachable!("a runner's name and some letters are a name"))
}

/// Whether it is the name of one of this runner's jobs.
pub fn is_job_of(runner: &RunnerName, name: &str) -> bool {
    name.strip_prefix(&job_prefix(runner))
        .is_some_and(|own| own.len() == LETTERS && own.bytes().all(|letter| letter.is_ascii_lowercase()))
}

impl Cli {
    /// The containers of a runner's jobs, whatever state they are in.
    pub fn jobs(&self, runner: &RunnerName) -> Result<Vec<(RunnerName, Inspected)>, Error> {
        let arguments = [
            "ps".to_owned(),
            "--all".to_owned(),
            format!("--filter=label={INSTANCE_LABEL}={runner}"),
            format!("--filter=label={SLOT_LABEL}"),
            "--format={{.Names}}".to_owned(),
        ];
        let mut jobs = Vec::new();
        for name in self.run(&arguments)?.lines().filter(|name| is_job_of(runner, name)) {
            // One may have gone since.
            if let (Ok(name), Some(found)) = (name.parse(), self.inspect(name)?) {
                jobs.push((name, found));
            }
        }
        Ok(jobs)
    }

    /// The jobs that have a volume here, with or without a container.
    pub fn jobs_with_volumes(&self, runner: &RunnerName) -> Result<Vec<RunnerName>, Error> {
        let volumes = self.volumes(&job_prefix(runner))?;
        let mut jobs: Vec<RunnerName> = volumes
            .iter()
            .filter_map(|volume| volume.rsplit_once('-')?.0.parse().ok())
            .filter(|job: &RunnerName| is_job_of(runner, job.as_str()))
            .collect();
        jobs.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        jobs.dedup();
        Ok(jobs)
    }

    /// Remove all of a job's volumes: what lies over another one first.
    pub fn remove_job_volumes(&self, job: &RunnerName) -> Result<(), Error> {
        self.lift_store(job)?;
        for volume in [store_volume(job), layer_volume(job), runner_volume(job), queue_volume(job)] {
            self.remove_volume(&volume)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{is_job_of, new_job_name};

    #[test]
    fn a_jobs_name_is_its_runners_and_nobody_elses() {
        let runner = "vega-heavy".parse().unwrap();
        let job = new_job_name(&runner);
        assert!(is_job_of(&runner, job.as_str()), "{job}");
        for other in [
            "vega-heavy",
            "vega-heavy.job-",
            "vega-heavy.job-abc123",
            "vega-heavy2.job-abcdef",
            "vega-heavy.job-abcdefg",
        ] {
            assert!(!is_job_of(&runner, other), "{other}");
        }
        assert!(!is_job_of(&"vega".parse().unwrap(), job.as_str()));
    }
}
