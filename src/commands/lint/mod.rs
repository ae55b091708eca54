//! `lint`: which jobs can reach this runner, by whose hand, and what they do that they should not.

mod explain;
mod files;
mod fix;
mod ignore;
mod output;
mod report;

use std::{path::PathBuf, process::ExitCode};

use crate::{
    config::{FileArgs, GitHubArgs, LintSettings},
    workflow::{self, Actions, Known, Set, Subject, Variables},
};
use ignore::Ignores;
use output::Format;
use report::{Checked, Report};

/// Show which jobs can reach a runner, and by whose hand they can be started
///
/// Every workflow is followed through its triggers, `if`, matrices, expressions and called workflows to the machines
/// that it asks for. What cannot be known counts: it may reach you. That a stranger can start a job on the runner is an
/// error; everything else is a warning. Exit code 0: nothing, or warnings; 1: an error; 2: something could not be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder lint
      the workflows of the repository in this folder
  vega-builder lint --labels self-hosted,big --fix
      for a runner with these labels; mend what can be mended without thought
  vega-builder lint --output sarif > lint.sarif
      for GitHub's code scanning
  vega-builder lint --explain stranger-reaches-runner")]
pub struct Lint {
    /// A repository's folder, or one workflow file
    #[arg(value_name = "PATH", default_value = ".")]
    subject: PathBuf,
    /// The runner's labels [default: self-hosted,vega, or those that are configured]
    #[arg(long, value_name = "LABEL,…")]
    labels: Option<String>,
    /// The runner's group; a repository's own runners are in the default one
    #[arg(long, value_name = "NAME", default_value = "Default")]
    group: String,
    /// A variable (`vars.NAME`) whose value is known; may be given several times
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// Change the files where a remedy needs no thought; comments and layout stay
    #[arg(long)]
    fix: bool,
    /// Warnings count as errors
    #[arg(long)]
    strict: bool,
    /// Say what a rule looks for, why, and what to do about it; `all` for every rule
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    github: GitHubArgs,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

fn variable(given: &str) -> Result<(String, String), String> {
    let (name, value) = given.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Something could not be read, or was asked for wrongly.
const UNREAD: u8 = 2;

impl Lint {
    pub fn run(self) -> ExitCode {
        match self.explain.as_deref().map_or_else(|| self.check(), explain::explain) {
            Ok(code) => code,
            Err(error) => {
                anstream::eprintln!("vega-builder: {}", crate::progress::printable(&format!("{error:#}")));
                ExitCode::from(UNREAD)
            }
        }
    }

    fn check(&self) -> anyhow::Result<ExitCode> {
        let known = self.known()?;
        let folder = files::Folder::find(&self.subject)?;
        let ignores = Ignores::read(folder.root.as_deref())?;
        let mut checked = checked(folder.set()?, &known, &folder);
        if self.fix {
            let mended = fix::apply(&folder, &checked)?;
            if mended > 0 {
                anstream::eprintln!("{mended} of them mended; what is left:");
                checked = self::checked(folder.set()?, &known, &folder);
            }
        }
        let mut report = Report::new(&known, vec![checked]);
        report.keep_to(folder.only.as_deref());
        report.ignore(&ignores);
        output::write(&report, self.output)?;
        Ok(report.exit_code(self.strict))
    }

    /// The runner that is asked about.
    fn known(&self) -> anyhow::Result<Known> {
        let settings = LintSettings::resolve(&self.file, &self.github, self.labels.as_deref())?;
        let mut known = Known::of_runner(&settings.labels, architecture());
        known.group.clone_from(&self.group);
        known.has_substituters = settings.has_substituters;
        known.variables = Variables { values: self.variables.clone(), complete: false };
        Ok(known)
    }
}

/// What rules find in a set of workflows.
fn checked(set: Set, known: &Known, actions: &dyn Actions) -> Checked {
    let found = workflow::reach(&set, known);
    let findings = workflow::check(&Subject { set: &set, known, found: &found, actions });
    Checked { set, found, findings }
}

/// GitHub's word for this machine's architecture, which is a label of every runner on it.
pub fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "ARM64" } else { "X64" }
}
