//! `register`: a fresh registration token for a runner that is installed here.

use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    contract::Phase,
    engine::{self, Cli, Container, Layout, Status},
    github::{Credential, GitHub},
    installation::{Locked, Places, Record},
    progress::{Output, Progress},
};

/// Mint a registration token and hand it to the runner that is installed here
///
/// `up` does this by itself. Use it when GitHub has forgotten the runner (after 14 days offline, or when it
/// was removed on the web page) and the runner's container waits for a token. The token is written to a
/// tmpfs folder that only the container's root can read, mode 0400, and is deleted when it is read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder register
      for the only runner that is installed here
  vega-builder register octo-org/heavy-builds --token-file /root/github-token")]
pub struct Register {
    /// The runner's name or its repository, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO")]
    runner: Option<String>,
    /// A file that holds a GitHub token, instead of GH_TOKEN, GITHUB_TOKEN or `gh auth token`
    #[arg(long, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Register {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let installation = Places::standard().find(self.runner.as_deref())?.lock()?;
        let mut record = installation.record()?.context("the record is gone")?;
        let server = &record.identity.server;
        let credential =
            Credential::find(self.token_file.as_deref(), server.host_str().unwrap_or("github.com"))?;
        let github = GitHub::new(server, &record.identity.repository, &credential)?;

        let step = progress.step("token", "minting a registration token");
        let owner = installation.store()?.and_then(|store| store.userns_base);
        installation.make_handover(owner)?;
        hand_over(&installation, &github, &mut record).await?;
        step.done("minted, laid down 0400 for the container's root");

        let text =
            format!("{} has a token; it registers within seconds when its container runs", installation.name);
        progress.result(&text, &json!({ "name": installation.name, "lapses": record.token_lapses }));
        Ok(ExitCode::SUCCESS)
    }
}

/// Why `container` needs a token, or `None` when it has a registration, or a token on its way.
pub fn needs_token(
    engine: &Cli,
    installation: &Locked,
    container: &Container,
    record: &Record,
    status: Status,
) -> anyhow::Result<Option<&'static str>> {
    let on_its_way = record.token_lapses.is_some_and(|lapses| lapses > Timestamp::now());
    if container.layout == Layout::Foreign {
        // Its registration lives and dies with its container; what is in it cannot be seen from here.
        let fresh = status == Status::Created && !on_its_way;
        return Ok(fresh.then_some("the container is new"));
    }
    if on_its_way && installation.has_token() {
        return Ok(None);
    }
    let phase = installation.runner_state().map(|state| state.phase);
    Ok(match (status, phase) {
        (Status::Running, Some(Phase::WaitingForToken)) => Some("the runner waits for one"),
        (Status::Running, _) => None,
        _ if record.registered.as_ref() != Some(&record.identity) => {
            Some("no registration is saved for these settings")
        }
        _ if !engine.has_volume(&container.runner_volume())? => Some("the saved registration is gone"),
        _ => None,
    })
}

/// Mint a token and hand it in, in the way that the image's layout wants.
pub async fn lay_token(
    engine: &Cli,
    installation: &Locked,
    github: &GitHub,
    container: &Container,
    record: &mut Record,
) -> anyhow::Result<()> {
    if container.layout == Layout::Contract {
        return hand_over(installation, github, record).await;
    }
    // A foreign image reads the token from its own file system: copied in before the start, then deleted here.
    let (token, lapses) = github.mint_registration_token().await?;
    installation.lay_token(&token, None)?;
    drop(token);
    let copied = engine.copy_in(
        &container.name,
        &installation.token_path().to_string_lossy(),
        crate::contract::FOREIGN_TOKEN,
    );
    installation.discard_token()?;
    copied?;
    record.token_lapses = Some(lapses);
    installation.save(record)?;
    Ok(())
}

async fn hand_over(installation: &Locked, github: &GitHub, record: &mut Record) -> anyhow::Result<()> {
    if !installation.handover_is_in_memory() {
        return Err(engine::Error::Failed {
            command: format!("looking at {}", installation.handover.display()),
            why: "it is not on a tmpfs, and a token is not written to a disk; mount one on /run".to_owned(),
        }
        .into());
    }
    let (token, lapses) = github.mint_registration_token().await?;
    // The record first: a crash in between leaves a note of a token that nobody has, not a token that is
    // not noted and would be minted again.
    record.token_lapses = Some(lapses);
    installation.save(record)?;
    installation.lay_token(&token, installation.store()?.and_then(|store| store.userns_base))?;
    Ok(())
}
