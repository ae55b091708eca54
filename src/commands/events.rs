//! `events`: what happened to the runners of this host.

use std::{io::Write as _, process::ExitCode, thread, time::Duration};

use serde_json::json;

use super::steps::{happened::happened, subject::Subject};
use crate::{
    chronicle::{Entry, Event, JobResult, Reader},
    installation::Places,
    progress::{Output, printable},
    value::{ByteSize, RunnerName},
};

/// Show what happened to the runners here: jobs, trouble, collections of garbage
///
/// Each runner keeps its own account, out of its jobs' reach, through restarts, updates and reboots; some thousand events
/// are kept. With `--output json` each is an object on a line of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder events
  vega-builder events octo-org/heavy-builds --follow
  vega-builder events --output json | jq 'select(.event == \"job-ended\" and .oom_kills > 0)'")]
pub struct Events {
    /// The runner's name, its repository or its organisation; all of them unless given
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    runner: Option<String>,
    /// Go on with what comes, until ^C
    #[arg(long, short)]
    follow: bool,
    /// The last ones alone
    #[arg(long, short = 'n', value_name = "NUMBER")]
    lines: Option<usize>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Between two looks at what is new.
const LOOK: Duration = Duration::from_secs(1);

/// A runner's account, and how much of it has been shown.
struct Account {
    name: RunnerName,
    reader: Reader,
    shown: u64,
}

impl Events {
    pub fn output(&self) -> Output {
        self.output
    }

    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let installed = Places::standard().wanted(self.runner.as_deref())?;
        let mut accounts = Vec::new();
        for installation in installed {
            let subject = Subject::of(installation)?;
            if let Some(reader) = happened(&subject.housing, &subject.installation)? {
                let shown = reader.size();
                accounts.push(Account { name: subject.installation.name, reader, shown });
            }
        }
        let mut all: Vec<(RunnerName, Entry)> = accounts
            .iter()
            .flat_map(|account| {
                account.reader.entries().into_iter().map(|entry| (account.name.clone(), entry))
            })
            .collect();
        all.sort_by_key(|(_, entry)| entry.at);
        let first = all.len().saturating_sub(self.lines.unwrap_or(usize::MAX));
        for (name, entry) in &all[first..] {
            self.show(name, entry)?;
        }
        if !self.follow {
            return Ok(ExitCode::SUCCESS);
        }
        loop {
            thread::sleep(LOOK);
            for account in &mut accounts {
                let (entries, shown) = account.reader.since(account.shown);
                account.shown = shown;
                for entry in &entries {
                    self.show(&account.name, entry)?;
                }
            }
        }
    }

    /// A reader that goes away ends it.
    fn show(&self, name: &RunnerName, entry: &Entry) -> std::io::Result<()> {
        let line = match self.output {
            Output::Json => {
                let mut object = serde_json::to_value(entry)?;
                object["runner"] = json!(name);
                object.to_string()
            }
            Output::Text => format!("{:.0} {name}: {}", entry.at, printable(&told(&entry.event))),
        };
        writeln!(std::io::stdout(), "{line}")
    }
}

/// For a person.
fn told(event: &Event) -> String {
    match event {
        Event::Started { version } => format!("started (vega-builder {version})"),
        Event::Listening => "listens for jobs".to_owned(),
        Event::Trouble { why } => format!("trouble: {why}"),
        Event::JobStarted { job } => format!("job {job} started"),
        Event::JobEnded { job, result, seconds, oom_kills, run } => {
            let killed = match oom_kills {
                0 => String::new(),
                1 => "; 1 process was killed at the memory cap".to_owned(),
                many => format!("; {many} processes were killed at the memory cap"),
            };
            let how =
                if *result == JobResult::Unknown { "ended, nobody knows how," } else { result.as_str() };
            let run = run.as_ref().map(|run| format!(" ({run})")).unwrap_or_default();
            format!("job {job} {how} after {seconds:.0} s{killed}{run}")
        }
        Event::GarbageCollected { freed_bytes, seconds } => {
            format!("garbage collected: {} freed in {seconds:.0} s", ByteSize(*freed_bytes))
        }
        Event::Drained => "drained: no job starts".to_owned(),
        Event::GaveUp { why } => format!("gave up: {why}"),
        Event::Stopped { why } => format!("stopped: {why}"),
    }
}
