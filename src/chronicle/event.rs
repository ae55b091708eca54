use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What happened, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// PID 1 began to work: the container was started, or a drain called off.
    Started {
        version: String,
    },
    /// The runner listens for jobs: once in each start, and after trouble.
    Listening,
    /// What keeps it from listening; it tries again by itself.
    Trouble {
        why: String,
    },
    JobStarted {
        job: String,
    },
    JobEnded {
        job: String,
        result: JobResult,
        seconds: f64,
        /// Processes that were killed because the container came to its memory cap.
        oom_kills: u64,
        /// The page of its run at GitHub.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<String>,
    },
    /// The store was tidied.
    GarbageCollected {
        freed_bytes: u64,
        seconds: f64,
    },
    /// No job starts until `resume`.
    Drained,
    /// It has failed again and again, and tries no more until somebody says so.
    GaveUp {
        why: String,
    },
    Stopped {
        why: String,
    },
}

/// How a job ended, in GitHub's words. What a job says of itself is among these, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobResult {
    Succeeded,
    SucceededWithIssues,
    Failed,
    Canceled,
    Skipped,
    Abandoned,
    /// The listener ended without a word of it.
    Unknown,
}

impl JobResult {
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::SucceededWithIssues,
        Self::Failed,
        Self::Canceled,
        Self::Skipped,
        Self::Abandoned,
        Self::Unknown,
    ];

    /// Of the listener's line, `Job NAME completed with result: Succeeded`.
    ///
    /// Source: actions/runner, `TaskResult` in `src/Sdk/DTWebApi/WebApi/TaskResult.cs`.
    pub fn of_line(line: &str) -> Self {
        match line.rsplit(": ").next().unwrap_or_default().trim() {
            "Succeeded" => Self::Succeeded,
            "SucceededWithIssues" => Self::SucceededWithIssues,
            "Failed" => Self::Failed,
            "Canceled" => Self::Canceled,
            "Skipped" => Self::Skipped,
            "Abandoned" => Self::Abandoned,
            _ => Self::Unknown,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::SucceededWithIssues => "succeeded-with-issues",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Abandoned => "abandoned",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::JobResult;

    #[test]
    fn a_jobs_name_makes_no_result_of_its_own() {
        let of = JobResult::of_line;
        assert_eq!(of("Job build completed with result: Failed"), JobResult::Failed);
        assert_eq!(
            of("Job a completed with result: Succeeded completed with result: Canceled"),
            JobResult::Canceled
        );
        assert_eq!(of("Job x completed with result: Splendid"), JobResult::Unknown);
        for result in JobResult::ALL {
            assert_eq!(serde_json::to_value(result).unwrap(), result.as_str());
        }
    }
}
