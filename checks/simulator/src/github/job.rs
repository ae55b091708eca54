use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One `run:` step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub run: String,
    /// When it runs; without it, as long as nothing failed.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl Step {
    pub fn new(name: &str, run: &str) -> Self {
        Self { name: name.to_owned(), run: run.to_owned(), condition: None }
    }

    /// Whether it runs in a job that has failed, or not: the part of the expressions that jobs here use. What
    /// names no state of the job asks for success, as GitHub's do.
    pub fn runs(&self, failed: bool) -> bool {
        let text = self.condition.as_deref().unwrap_or_default().trim();
        let inner = text.strip_prefix("${{").and_then(|text| text.strip_suffix("}}"));
        match inner.unwrap_or(text).trim() {
            "always()" | "!cancelled()" => true,
            "failure()" => failed,
            _ => !failed,
        }
    }
}

/// A job of a workflow, with the event that started it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// `owner/name`
    pub repository: String,
    pub name: String,
    /// `runs-on`: all of them must be a runner's.
    pub labels: Vec<String>,
    pub event: String,
    pub payload: Value,
    pub env: BTreeMap<String, String>,
    pub steps: Vec<Step>,
}

impl Job {
    /// A job that a push starts.
    pub fn push(repository: &str, name: &str, labels: &[&str], script: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            name: name.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            event: "push".to_owned(),
            payload: json!({
                "ref": "refs/heads/main",
                "repository": { "full_name": repository, "fork": false },
            }),
            env: BTreeMap::new(),
            steps: vec![Step::new(name, script)],
        }
    }

    /// The same job, whose steps run under this condition.
    #[must_use]
    pub fn when(mut self, condition: &str) -> Self {
        for step in &mut self.steps {
            step.condition = Some(condition.to_owned());
        }
        self
    }

    /// The same job, started by the pull request of somebody else's fork.
    #[must_use]
    pub fn from_fork(mut self) -> Self {
        "pull_request".clone_into(&mut self.event);
        self.payload = json!({
            "action": "opened",
            "pull_request": { "head": { "repo": { "full_name": "mallory/fork", "fork": true } } },
            "repository": { "full_name": self.repository },
        });
        self
    }

    /// The job `name` of a workflow file, started by a push.
    pub fn of_workflow(repository: &str, text: &str, name: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Workflow {
            jobs: BTreeMap<String, Description>,
        }
        #[derive(Deserialize)]
        struct Description {
            #[serde(rename = "runs-on")]
            runs_on: RunsOn,
            #[serde(default)]
            env: BTreeMap<String, String>,
            steps: Vec<Described>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum RunsOn {
            One(String),
            All(Vec<String>),
        }
        #[derive(Deserialize)]
        struct Described {
            name: Option<String>,
            run: Option<String>,
            #[serde(rename = "if")]
            condition: Option<String>,
        }
        let mut workflow: Workflow = serde_yaml_ng::from_str(text)?;
        let described = workflow.jobs.remove(name).with_context(|| format!("there is no job {name}"))?;
        let mut job = Self::push(repository, name, &[], "");
        job.labels = match described.runs_on {
            RunsOn::One(label) => vec![label],
            RunsOn::All(labels) => labels,
        };
        job.env = described.env;
        let steps = described.steps.into_iter();
        job.steps = steps
            .filter_map(|step| {
                let run = step.run?;
                Some(Step { name: step.name.unwrap_or_else(|| run.clone()), run, condition: step.condition })
            })
            .collect();
        Ok(job)
    }

    /// Whether a runner with these labels is served this job; labels compare without case.
    pub fn runs_on(&self, labels: &[String]) -> bool {
        self.labels.iter().all(|wanted| labels.iter().any(|label| label.eq_ignore_ascii_case(wanted)))
    }
}

/// How a job ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// `Succeeded`, `Failed` or `Cancelled`
    pub result: String,
    /// What its steps said, on both outputs.
    pub log: String,
    pub runner: String,
}

#[cfg(test)]
mod tests {
    use super::Job;

    #[test]
    fn a_workflows_job_is_read() {
        let text = "on: push\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n    steps:\n      - uses: actions/checkout@v5\n      - run: echo hi\n";
        let job = Job::of_workflow("octo/heavy", text, "build").unwrap();
        assert_eq!((job.labels.len(), job.steps[0].run.as_str()), (2, "echo hi"));
        assert!(job.runs_on(&["Self-Hosted".to_owned(), "VEGA".to_owned(), "x".to_owned()]));
        assert!(!job.runs_on(&["vega".to_owned()]));
    }
}
