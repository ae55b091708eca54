//! The registration token: who asks for it, whether it is needed, and its way from GitHub to a container.

use jiff::Timestamp;

use crate::{
    config::{AppSettings, CredentialArgs, GitHubSettings},
    contract::{self, Phase},
    engine::{self, Cli, Container, Layout, Status},
    github::{Credential, CredentialError, GitHub},
    installation::{Locked, Record},
    value::{RegistrationToken, Scope},
};

/// Who asks GitHub: the App or the token file of the settings, else who is logged in here.
pub async fn login(settings: &GitHubSettings, scope: &Scope) -> anyhow::Result<Credential> {
    if let Some(AppSettings { id, key_file }) = &settings.app {
        return Ok(Credential::of_app(id, key_file, &settings.server, scope).await?);
    }
    let host = settings.server.host_str().unwrap_or("github.com");
    Ok(Credential::find(settings.token_file.as_deref(), host)?)
}

/// Who asks GitHub about a runner that is installed: the flag's token file, who is logged in here, or what the runner
/// was installed with.
pub async fn credential(
    args: &CredentialArgs,
    installed: &GitHubSettings,
    scope: &Scope,
) -> anyhow::Result<Credential> {
    let host = installed.server.host_str().unwrap_or("github.com");
    match Credential::find(args.token_file()?.as_deref(), host) {
        Err(CredentialError::None { .. }) if installed.app.is_some() || installed.token_file.is_some() => {
            login(installed, scope).await
        }
        found => Ok(found?),
    }
}

/// The same of a runner whose unit asks GitHub by itself: with what that has, before whoever is logged in here.
pub async fn its_own(
    args: &CredentialArgs,
    installed: &GitHubSettings,
    scope: &Scope,
) -> anyhow::Result<Credential> {
    if args.token_file()?.is_none() && (installed.app.is_some() || installed.token_file.is_some()) {
        return login(installed, scope).await;
    }
    credential(args, installed, scope).await
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
    pub lapses: Timestamp,
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

    /// Lay it down for the container's root, in the folder that they share.
    pub fn lay(&self, installation: &Locked) -> anyhow::Result<()> {
        Ok(installation.lay_token(&self.token, installation.handover_owner())?)
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
        return token.lay(installation);
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
