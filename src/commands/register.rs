//! `register`: a fresh registration token for a runner that is installed here.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::json;

use super::steps::{
    declared::Declared,
    housing::Housing,
    push_only,
    token::{Token, credential, hand_over},
};
use crate::{
    config::{CredentialArgs, GitHubSettings},
    contract::Phase,
    engine::{self, Layout, Status},
    github::GitHub,
    installation::{self, Accepted, Identity, Locked, Places, Record},
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
  vega-builder register octo-org/heavy-builds --token-file /etc/vega-builder/github-token")]
pub struct Register {
    /// The runner's name, its repository or its organisation, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
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

/// What a start takes, up to the question for a token.
const STARTING: Duration = Duration::from_secs(30);
/// The keeper of slots has the lock while a container begins.
const PATIENCE: Duration = Duration::from_secs(60);

impl Register {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let installation = Places::standard().find(self.runner.as_deref())?.lock_patiently(PATIENCE)?;
        // A token would lie there, and the unit that it starts would end at once.
        installation.expect_not_drained()?;
        let subject = Subject::of(&installation)?;
        if subject.is_ephemeral && !self.accept_strangers {
            let text =
                format!("every job of {} is registered by itself: it needs no token", installation.name);
            progress.result(&text, &json!({ "name": installation.name, "minted": false }));
            return Ok(ExitCode::SUCCESS);
        }
        let runs = || -> anyhow::Result<bool> {
            let found = subject.housing.inspect(&installation.name)?;
            Ok(found.is_some_and(|found| found.status == Status::Running))
        };
        // Whether one that only just starts has a registration, it says itself; one that waits for its next try says why.
        let (until, mut step) = (Instant::now() + STARTING, None);
        let needs_none = loop {
            // One look at its word for one decision: it may begin to boot at any time.
            let state = match installation.runner_state() {
                Some(state) if runs()? => state,
                _ => break false,
            };
            let is_booting = state.phase == Phase::Starting && state.message.is_empty();
            if !is_booting || Instant::now() > until {
                break state.phase != Phase::WaitingForToken;
            }
            step.get_or_insert_with(|| {
                progress.step("start", "waiting for the runner to say whether it needs one")
            });
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        if let Some(step) = step {
            step.done("it has started");
        }
        if needs_none {
            // A token that nobody waits for would lie there while jobs run.
            let text =
                format!("{} asks for no token; `vega-builder status` shows how it is", installation.name);
            progress.result(&text, &json!({ "name": installation.name, "minted": false }));
            return Ok(ExitCode::SUCCESS);
        }
        let Identity { server, scope, .. } = &subject.identity;
        let credential = credential(&self.credential, &subject.github, scope).await?;
        let github = GitHub::new(server, scope, &credential)?;
        if let Some(accepted) =
            push_only::demand(&github, &subject.identity, self.accept_strangers, &progress).await?
        {
            subject.accept(&installation, accepted)?;
        }
        if subject.is_ephemeral {
            let text = format!(
                "what reaches {} is accepted, and its jobs are registered one by one",
                installation.name
            );
            progress.result(&text, &json!({ "name": installation.name, "minted": false }));
            return Ok(ExitCode::SUCCESS);
        }

        let step = progress.step("token", "minting a registration token");
        installation.make_handover(installation.store()?.and_then(|store| store.userns_base))?;
        let token = Token::mint(&github, &installation, Layout::Contract).await?;
        let lapses = token.lapses;
        subject.hand_over(&installation, token)?;
        step.done("minted, laid down 0400 for root");

        let text = format!("{} has a token; it registers within seconds when it runs", installation.name);
        progress.result(&text, &json!({ "name": installation.name, "minted": true, "lapses": lapses }));
        Ok(ExitCode::SUCCESS)
    }
}

/// The runner that is to be registered: as its file declares it, else as it was installed.
struct Subject {
    identity: Identity,
    housing: Housing,
    github: GitHubSettings,
    /// Nothing, when a unit has not prepared it yet.
    record: Option<Record>,
    is_declared: bool,
    /// Whether every job has a registration of its own.
    is_ephemeral: bool,
}

impl Subject {
    fn of(installation: &Locked) -> anyhow::Result<Self> {
        let record = installation.record()?;
        if installation.is_declared() {
            let declared = Declared::read(installation)?;
            return Ok(Self {
                is_ephemeral: declared.settings.ephemeral.is_some(),
                identity: declared.identity(),
                github: declared.settings.github,
                housing: declared.housing,
                record,
                is_declared: true,
            });
        }
        let record = record.context("the record is gone")?;
        if record.layout == Layout::Foreign {
            return Err(installation::Error::NoHandover { name: installation.name.to_string() }.into());
        }
        Ok(Self {
            identity: record.identity.clone(),
            housing: Housing::Container(engine::detect(Some(&record.engine))?),
            github: record.github(),
            record: Some(record),
            is_declared: false,
            is_ephemeral: false,
        })
    }

    /// Note what the person accepts, before anything comes of it.
    fn accept(&self, installation: &Locked, accepted: Accepted) -> anyhow::Result<()> {
        match &self.record {
            Some(record) => installation.save(&Record { accepted: Some(accepted), ..record.clone() })?,
            None => installation.save_accepted(&accepted)?,
        }
        Ok(())
    }

    /// Lay the token down, where a path unit sees it, or the container that waits for it.
    fn hand_over(&self, installation: &Locked, token: Token) -> anyhow::Result<()> {
        // A declared runner's registration is looked at, not noted.
        match installation.record()?.filter(|_| !self.is_declared) {
            Some(mut record) => hand_over(
                self.housing.expect_engine(&installation.name)?,
                installation,
                &mut record,
                token,
                Layout::Contract,
            ),
            None => token.lay(installation),
        }
    }
}
