//! `doctor`: what is wrong, or soon will be, and what to type.

mod finding;
mod github;
mod host;
mod outlook;
mod runner;

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde_json::json;

use self::finding::{Finding, Level};
use super::steps::{
    metadata,
    record::identity,
    subject::{Known, Subject},
    token,
};
use crate::{
    config::{CredentialArgs, GitHubSettings, Host, Settings, SettingsArgs},
    github::GitHub,
    installation::{Identity, Installation, Places},
    progress::{Output, printable},
    value::Repository,
};

/// Look at everything that a runner rests on, and say what to do about what is wrong
///
/// The host (kernel, cgroups, memory, disk, engine, user namespaces), the image and who signed it, the token's permissions,
/// GitHub's view, how long the runner's version is served, the clock, and the workflows of the repository, or of those of the
/// organisation that may use the runner: which jobs will come, and which never will, because of what. Each finding has its next command. Nothing is changed. Exit code 0: nothing is
/// wrong; 1: something is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder doctor
  vega-builder doctor octo-org/heavy-builds
      before the first `up` too
  vega-builder doctor --output json | jq '.[] | select(.level != \"fine\")'")]
pub struct Doctor {
    /// A runner's name, its repository or its organisation, or a repository that has none here yet; all runners unless
    /// given
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    subject: Option<String>,
    #[command(flatten)]
    credential: CredentialArgs,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// The findings about one thing, under its name.
struct Part {
    name: String,
    findings: Vec<Finding>,
}

impl Doctor {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let places = Places::standard();
        let installed = match &self.subject {
            Some(wanted) => places.find(Some(wanted)).ok().into_iter().collect(),
            None => places.installed(),
        };
        let needs_engine = installed.is_empty() || !installed.iter().all(Installation::is_on_host);
        let mut parts = vec![Part { name: "this host".to_owned(), findings: host::host(needs_engine) }];
        if installed.is_empty() {
            parts[0].findings.extend(host::metadata(false));
        }
        for installation in &installed {
            let name = installation.name.to_string();
            let findings = match Subject::of(installation.clone()) {
                Ok(subject) => self.installed(&subject).await,
                Err(why) => {
                    let next = format!("`vega-builder status {name}`");
                    vec![Finding::failure("record", format!("{why:#}"), next)]
                }
            };
            parts.push(Part { name, findings });
        }
        if installed.is_empty()
            && let Some(wanted) = &self.subject
        {
            parts.push(Part { name: wanted.clone(), findings: self.planned(wanted).await });
        }
        self.tell(&parts)?;
        let is_wrong =
            parts.iter().flat_map(|part| &part.findings).any(|finding| finding.level == Level::Wrong);
        Ok(if is_wrong { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }

    async fn installed(&self, subject: &Subject) -> Vec<Finding> {
        let mut findings = runner::here(subject);
        findings.extend(host::metadata(metadata::is_denied(subject)));
        if let Some(record) = &subject.record {
            findings.extend(runner::image(record, &subject.installation).await);
        }
        let Known { identity, github, .. } = &subject.known;
        findings.extend(self.at_github(identity, github, Some(subject)).await);
        findings
    }

    /// A repository before its first `up`.
    async fn planned(&self, wanted: &str) -> Vec<Finding> {
        if wanted.parse::<Repository>().is_err() {
            let next = "`vega-builder status` names those that are; a repository is written OWNER/NAME";
            return vec![Finding::wrong("runner", format!("no '{wanted}' is installed here"), next)];
        }
        let settings = Host::read()
            .map_err(anyhow::Error::from)
            .and_then(|host| Ok(Settings::resolve(&SettingsArgs::default(), Some(wanted), &host)?));
        match settings {
            Ok(settings) => self.at_github(&identity(&settings), &settings.github, None).await,
            Err(why) => {
                vec![Finding::failure("settings", format!("{why:#}"), "mend that, then this command again")]
            }
        }
    }

    async fn at_github(
        &self,
        identity: &Identity,
        settings: &GitHubSettings,
        installed: Option<&Subject>,
    ) -> Vec<Finding> {
        let (scope, own) = (&identity.scope, installed.is_some_and(|it| it.installation.is_declared()));
        // Where that is.
        let file = settings.app.as_ref().map(|app| &app.key_file).or(settings.token_file.as_ref());
        let login = match file.filter(|_| own) {
            Some(file) => format!("another one in {}, of somebody who administers it", file.display()),
            None => github::LOGIN.to_owned(),
        };
        let asked = async {
            // What a unit registers with is what is looked at.
            let credential = if own {
                token::its_own(&self.credential, settings, scope).await?
            } else {
                token::credential(&self.credential, settings, scope).await?
            };
            anyhow::Ok(GitHub::new(&identity.server, scope, &credential)?)
        };
        let github = match asked.await {
            Ok(github) => github,
            Err(why) => return vec![github::unanswered(&why, &login)],
        };
        let mut findings = github::github(&github, identity, installed, &login).await;
        findings.extend(outlook::outlook(&github, identity).await);
        findings
    }

    fn tell(&self, parts: &[Part]) -> anyhow::Result<()> {
        if self.output == Output::Json {
            let all: Vec<_> = parts
                .iter()
                .flat_map(|part| part.findings.iter().map(move |finding| (part, finding)))
                .map(|(part, finding)| {
                    let mut object = serde_json::to_value(finding)?;
                    object["of"] = json!(part.name);
                    anyhow::Ok(object)
                })
                .collect::<anyhow::Result<_>>()?;
            println!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        for Part { name, findings } in parts {
            anstream::println!("{}", printable(name));
            for finding in findings {
                let (mark, color) = match finding.level {
                    Level::Fine => ("✓", AnsiColor::Green),
                    Level::Warning => ("!", AnsiColor::Yellow),
                    Level::Wrong => ("✗", AnsiColor::Red),
                };
                let style = Style::new().fg_color(Some(color.into()));
                anstream::println!(
                    "  {style}{mark}{style:#} {:11} {}",
                    finding.about,
                    printable(&finding.what)
                );
                if let Some(next) = &finding.next {
                    anstream::println!("                next: {}", printable(next));
                }
            }
        }
        Ok(())
    }
}
