//! `lint`: which jobs can reach this runner, by whose hand, and what they do that they should not.

mod explain;
mod files;
mod fix;
mod ignore;
mod online;
mod output;
mod report;
mod repository;

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, bail};

use super::steps::token::login;
use crate::{
    config::{FileArgs, GitHubArgs, GitHubSettings, LintSettings},
    contract::ALLOWED_EVENTS,
    github::GitHub,
    value::{Labels, Repository, Scope},
    workflow::{self, Actions, Found, Known, NoActions, Set, Subject, Variables},
};
use files::Folder;
use ignore::Ignores;
use output::Format;
use report::{Checked, Landing, Report};
use repository::{Branches, Fetched, OfBranches};

/// Show which jobs can reach a runner, and by whose hand they can be started
///
/// Every workflow is followed through its triggers, `if`, matrices, expressions and called workflows to the machines
/// that it asks for. What cannot be known counts: it may reach you. That a stranger can start a job on the runner is an
/// error; everything else is a warning. Exit code 0: nothing, or warnings; 1: an error; 2: something could not be read.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(after_help = "\
Examples:
  vega-builder lint
      the workflows of the repository in this folder
  vega-builder lint octo-org/heavy-builds --all-branches
      those at GitHub, on every branch, with the settings that decide with them and the workflows that they call
  vega-builder lint --labels self-hosted,big --fix
      for a runner with these labels; mend what can be mended without thought
  vega-builder lint --output sarif > lint.sarif
      for GitHub's code scanning
  vega-builder lint --explain stranger-reaches-runner")]
pub struct Lint {
    /// A repository's folder, one workflow file, or a repository at GitHub
    #[arg(value_name = "PATH|OWNER/REPO", default_value = ".")]
    subject: String,
    /// The runner's labels [default: self-hosted,vega, or those that are configured]
    #[arg(long, value_name = "LABEL,…")]
    labels: Option<String>,
    /// The runner's group; a repository's own runners are in the default one
    #[arg(long, value_name = "NAME", default_value = "Default")]
    group: String,
    /// A variable (`vars.NAME`) whose value is known; may be given several times
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// Of a repository at GitHub: this branch instead of the default one; may be given several times
    #[arg(long = "branch", value_name = "NAME", conflicts_with = "all_branches")]
    branches: Vec<String>,
    /// Of a repository at GitHub: every branch, because each can be a pull request's base
    #[arg(long)]
    all_branches: bool,
    /// Of a folder: ask GitHub for the workflows of other repositories that are called, for what actions run on, and for
    /// the commits to name them by
    #[arg(long)]
    online: bool,
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
    pub async fn run(self) -> ExitCode {
        let result = match &self.explain {
            Some(rule) => explain::explain(rule),
            None => self.check().await,
        };
        result.unwrap_or_else(|error| {
            anstream::eprintln!("vega-builder: {}", crate::progress::printable(&format!("{error:#}")));
            ExitCode::from(UNREAD)
        })
    }

    async fn check(&self) -> anyhow::Result<ExitCode> {
        let settings = LintSettings::resolve(&self.file, &self.github, self.labels.as_deref())?;
        let mut known = Known::of_runner(&settings.labels, architecture());
        known.group.clone_from(&self.group);
        known.has_substituters = settings.has_substituters;
        known.variables = Variables { values: self.variables.clone(), complete: false };
        // A folder of that name is what is meant.
        let report = match self.subject.parse::<Repository>() {
            Ok(repository) if !Path::new(&self.subject).exists() => {
                let github = log_in(&settings.github, &repository).await.with_context(|| {
                    format!("{} is no folder here, and to ask GitHub for it", self.subject)
                })?;
                self.at_github(&github, known).await?
            }
            _ => self.on_disk(&known, &settings.github).await?,
        };
        output::write(&report, self.output)?;
        Ok(report.exit_code(self.strict))
    }

    async fn on_disk(&self, known: &Known, github: &GitHubSettings) -> anyhow::Result<Report> {
        if self.all_branches || !self.branches.is_empty() {
            bail!("a folder has one state: name the repository as OWNER/REPO to read its branches at GitHub");
        }
        let folder = Folder::find(Path::new(&self.subject))?;
        let ignores = Ignores::read(folder.root.as_deref())?;
        let look = async || {
            let set = folder.set()?;
            let checked = if self.online {
                online::checked(set, known, &folder, github).await?
            } else {
                checked(set, known, &folder)
            };
            let mut report = Report::new(known, vec![checked]);
            report.keep_to(folder.only.as_deref());
            report.ignore(&ignores);
            anyhow::Ok(report)
        };
        let mut report = look().await?;
        if self.fix {
            let mended = report
                .checked
                .iter()
                .map(|checked| fix::apply(&folder, checked))
                .sum::<anyhow::Result<usize>>()?;
            if mended > 0 {
                anstream::eprintln!("{mended} of them mended; what is left:");
                report = look().await?;
            }
        }
        Ok(report)
    }

    async fn at_github(&self, github: &GitHub<Repository>, mut known: Known) -> anyhow::Result<Report> {
        if self.fix {
            bail!("--fix changes files: run it in a checkout of {}", github.subject());
        }
        let wanted = match (self.all_branches, self.branches.as_slice()) {
            (true, _) => Branches::All,
            (false, []) => Branches::Default,
            (false, names) => Branches::Named(names.to_vec()),
        };
        let default = repository::settings(github, &mut known).await?;
        let mut all = Vec::new();
        for of in repository::workflows(github, &default, &wanted).await? {
            let found = workflow::reach(&of.set, &known);
            let uses = workflow::actions_used(&of.set, &known, &found);
            let actions = Fetched::read(github, Some(&of.branches[0]), uses).await?;
            all.push(Checked { branches: of.branches, ..judged(of.set, found, &known, &actions) });
        }
        Ok(Report::new(&known, all).with_settings(&known))
    }
}

async fn log_in(settings: &GitHubSettings, repository: &Repository) -> anyhow::Result<GitHub<Repository>> {
    let credential = login(settings, &Scope::Repository(repository.clone())).await?;
    Ok(GitHub::new(&settings.server, repository, &credential)?)
}

/// What can reach a runner, in short.
pub struct Seen {
    /// How many jobs land here, and by whose hand.
    pub landings: String,
    /// Why strangers can reach it, one sentence each, with file and line.
    pub reasons: Vec<String>,
    /// The same, with the source.
    pub source: String,
}

/// Look at every branch of a repository, because each can be a pull request's base. No ignore counts here: who can
/// change a file in the repository has no say in what this machine runs.
pub async fn look(github: &GitHub<Repository>, labels: &Labels, group: Option<&str>) -> anyhow::Result<Seen> {
    let (mut report, _) = every_branch(github, labels, group).await?;
    let landings = output::landed(&report);
    report.keep_errors();
    Ok(Seen { landings, reasons: report.reasons(), source: output::findings(&report) })
}

/// What can reach a runner from every branch, by the repository's settings too; and its default branch.
async fn every_branch(
    github: &GitHub<Repository>,
    labels: &Labels,
    group: Option<&str>,
) -> anyhow::Result<(Report, String)> {
    let mut known = Known::of_runner(labels, architecture());
    if let Some(group) = group {
        group.clone_into(&mut known.group);
    }
    let default = repository::settings(github, &mut known).await?;
    let all = repository::workflows(github, &default, &Branches::All).await?;
    let check = |of: OfBranches| Checked { branches: of.branches, ..checked(of.set, &known, &NoActions) };
    let report = Report::new(&known, all.into_iter().map(check).collect()).with_settings(&known);
    Ok((report, default))
}

/// What is to be expected of a repository: which jobs come, and which never will.
pub struct Outlook {
    /// Of the default branch.
    pub coming: Vec<Landing>,
    pub never: Vec<Never>,
    /// Why strangers can reach it, on whichever branch.
    pub reasons: Vec<String>,
}

/// A job that asks for a runner like this one.
pub struct Never {
    pub place: String,
    pub job: String,
    pub why: String,
}

pub async fn outlook(
    github: &GitHub<Repository>,
    labels: &Labels,
    group: Option<&str>,
) -> anyhow::Result<Outlook> {
    let (mut report, default) = every_branch(github, labels, group).await?;
    let is_default = |branches: &[String]| branches.contains(&default);
    let (coming, refused): (Vec<Landing>, Vec<Landing>) = report
        .landings()
        .into_iter()
        .filter(|landing| is_default(&landing.branches))
        .partition(|landing| landing.events.iter().any(|event| ALLOWED_EVENTS.contains(&event.as_str())));
    let refused = refused.into_iter().map(|landing| Never {
        place: format!("{}:{}", landing.file, landing.line),
        why: format!("this runner takes no '{}' events", landing.events.join("', '")),
        job: landing.job,
    });
    let missing =
        report.checked.iter().filter(|checked| is_default(&checked.branches)).flat_map(Checked::never);
    let never = missing.chain(refused).collect();
    report.keep_errors();
    Ok(Outlook { coming, never, reasons: report.reasons() })
}

/// What rules find in a set of workflows.
fn checked(set: Set, known: &Known, actions: &dyn Actions) -> Checked {
    let found = workflow::reach(&set, known);
    judged(set, found, known, actions)
}

fn judged(set: Set, found: Found, known: &Known, actions: &dyn Actions) -> Checked {
    let findings = workflow::check(&Subject { set: &set, known, found: &found, actions });
    Checked { branches: Vec::new(), set, found, findings }
}

/// GitHub's word for this machine's architecture, which is a label of every runner on it.
pub fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "ARM64" } else { "X64" }
}
