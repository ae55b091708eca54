//! `register`: a fresh registration token for a runner that is installed here.

use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;

use super::push_only;
use crate::{
    config::CredentialArgs,
    contract::{self, Phase},
    engine::{self, Cli, Container, Layout, Status},
    github::{Credential, CredentialError, GitHub},
    installation::{self, Locked, Places, Record},
    progress::{Output, Progress},
    value::RegistrationToken,
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
  vega-builder register octo-org/heavy-builds --token-file /etc/vega-builder/github-token")]
pub struct Register {
    /// The runner's name or its repository, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO")]
    runner: Option<String>,
    #[command(flatten)]
    credential: CredentialArgs,
    /// Go on although strangers can start jobs on this machine; `status` shows it for ever
    #[arg(long = "i-accept-strangers-code-on-this-machine")]
    accept_strangers: bool,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Register {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let installation = Places::standard().find(self.runner.as_deref())?.lock()?;
        let mut record = installation.record()?.context("the record is gone")?;
        let engine = engine::detect(Some(&record.engine))?;
        if record.layout == Layout::Foreign {
            return Err(installation::Error::NoHandover { name: installation.name.to_string() }.into());
        }
        let runs = engine
            .inspect(installation.name.as_str())?
            .is_some_and(|container| container.status == Status::Running);
        let phase = installation.runner_state().map(|state| state.phase);
        if runs && phase.is_some_and(|phase| phase != Phase::WaitingForToken) {
            // A token that nobody waits for would lie there while jobs run.
            let text =
                format!("{} asks for no token; `vega-builder status` shows how it is", installation.name);
            progress.result(&text, &json!({ "name": installation.name, "minted": false }));
            return Ok(ExitCode::SUCCESS);
        }
        let credential = credential(&self.credential, &record)?;
        let github = GitHub::new(&record.identity.server, &record.identity.repository, &credential)?;

        let accepts = self.accept_strangers;
        if let Some(accepted) =
            push_only::demand(&github, &record.identity.labels, accepts, &progress).await?
        {
            record.accepted = Some(accepted);
            installation.save(&record)?;
        }

        let step = progress.step("token", "minting a registration token");
        let owner = installation.store()?.and_then(|store| store.userns_base);
        installation.make_handover(owner)?;
        let token = Token::mint(&github, &installation, record.layout).await?;
        hand_over(&engine, &installation, &mut record, token, Layout::Contract)?;
        step.done("minted, laid down 0400 for the container's root");

        let text =
            format!("{} has a token; it registers within seconds when its container runs", installation.name);
        let lapses = record.token_lapses;
        progress.result(&text, &json!({ "name": installation.name, "minted": true, "lapses": lapses }));
        Ok(ExitCode::SUCCESS)
    }
}

/// Who asks GitHub about a runner that is installed: what the settings name, what is logged in here, or the file
/// that `up` was given.
pub fn credential(args: &CredentialArgs, record: &Record) -> anyhow::Result<Credential> {
    let host = record.identity.server.host_str().unwrap_or("github.com");
    let found = Credential::find(args.token_file()?.as_deref(), host);
    Ok(match (found, &record.token_file) {
        (Err(CredentialError::None { .. }), Some(file)) => Credential::find(Some(file), host)?,
        (found, _) => found?,
    })
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
        _ if record.registered.as_ref().is_none_or(|known| !known.is_same(&record.identity)) => {
            Some("no registration is saved for these settings")
        }
        _ if !engine.has_volume(&container.runner_volume())? => Some("the saved registration is gone"),
        _ => None,
    })
}

/// A registration token on its way from GitHub to a container; wiped when it does not arrive.
pub struct Token {
    token: RegistrationToken,
    lapses: Timestamp,
}

impl Token {
    /// Mint one, when there is a place in memory through which it can go in.
    pub async fn mint(github: &GitHub, installation: &Locked, layout: Layout) -> anyhow::Result<Self> {
        if layout == Layout::Contract && !installation.handover_is_in_memory() {
            return Err(engine::Error::Failed {
                command: format!("looking at {}", installation.handover.display()),
                why: "it is not on a tmpfs, and a token is not written to a disk; mount one on /run"
                    .to_owned(),
            }
            .into());
        }
        let (token, lapses) = github.mint_registration_token().await?;
        Ok(Self { token, lapses })
    }
}

/// Hand a token in, in the way that the image's layout wants.
pub fn hand_over(
    engine: &Cli,
    installation: &Locked,
    record: &mut Record,
    token: Token,
    layout: Layout,
) -> anyhow::Result<()> {
    if layout == Layout::Contract {
        // The record first: a crash in between leaves a note of a token that nobody has, not a token that is
        // not noted and would be minted again.
        record.token_lapses = Some(token.lapses);
        installation.save(record)?;
        let owner = installation.store()?.and_then(|store| store.userns_base);
        return Ok(installation.lay_token(&token.token, owner)?);
    }
    // A foreign image reads the token from its own file system: copied in before the start, then deleted here.
    installation.lay_token(&token.token, None)?;
    let Token { token, lapses } = token;
    drop(token);
    let from = installation.token_path().to_string_lossy().into_owned();
    let copied = engine.copy_in(&installation.name, &from, contract::FOREIGN_TOKEN);
    installation.discard_token()?;
    copied?;
    record.token_lapses = Some(lapses);
    Ok(installation.save(record)?)
}
