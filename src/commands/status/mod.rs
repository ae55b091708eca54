//! `status`: what runs here, under which caps, and what GitHub says of it.

mod report;
mod text;
mod uploads;

use std::{collections::HashMap, io::IsTerminal as _, process::ExitCode, time::Duration};

use serde_json::json;

use self::report::{Report, Slow};
use crate::{config::CredentialArgs, exit::Kind, installation::Places, progress::Output};

/// Show the runners that are installed here
///
/// The container, the digest that runs and when its signature was verified, the caps that were asked for and
/// those that the kernel enforces, the registration, what GitHub says (asked with the same login as `up`), and how
/// large the store is. Exit code 0: every runner runs, under its caps, and takes jobs; 8: one does not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder status
  vega-builder status --watch
  vega-builder status octo-org/heavy-builds --output json")]
pub struct StatusCommand {
    /// The runner's name, its repository or its organisation; all of them unless given
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    runner: Option<String>,
    #[command(flatten)]
    credential: CredentialArgs,
    /// Look again and again, every so many seconds, until ^C; GitHub and the store's size every half a minute
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl StatusCommand {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let mut slow = HashMap::new();
        let Some(seconds) = self.watch else { return self.look(&mut slow, false).await };
        loop {
            self.look(&mut slow, true).await?;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
                _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            }
        }
    }

    /// One look, with what the last ones know already.
    async fn look(&self, slow: &mut HashMap<String, Slow>, anew: bool) -> anyhow::Result<ExitCode> {
        let installed = Places::standard().wanted(self.runner.as_deref())?;
        let (mut reports, mut unreadable) = (Vec::new(), Vec::new());
        for installation in &installed {
            // One runner that cannot be told of does not hide the others.
            let name = installation.name.to_string();
            let known = slow.remove(&name).filter(Slow::is_young);
            match Report::of(installation, &self.credential, known).await {
                Ok((report, known)) => {
                    slow.insert(name, known);
                    reports.push(report);
                }
                Err(error) => unreadable.push((&installation.name, format!("{error:#}"))),
            }
        }
        if anew && self.output == Output::Text && std::io::stdout().is_terminal() {
            anstream::print!("\u{1b}[H\u{1b}[2J");
        }
        match self.output {
            Output::Json => {
                let broken = unreadable.iter().map(|(name, why)| json!({ "name": name, "error": why }));
                let objects: Vec<_> = reports.iter().map(Report::object).chain(broken).collect();
                println!("{}", serde_json::to_string_pretty(&objects)?);
            }
            Output::Text => {
                reports.iter().for_each(Report::print);
                for (name, why) in &unreadable {
                    anstream::println!("{name}\n  {why}");
                }
            }
        }
        let all_sound = unreadable.is_empty() && reports.iter().all(Report::is_sound);
        Ok(if all_sound { ExitCode::SUCCESS } else { ExitCode::from(Kind::Offline as u8) })
    }
}
