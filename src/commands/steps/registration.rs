//! A declared runner's registration: saved, on its way, or to be made with a token that is minted now.

use anyhow::Context as _;

use super::{declared::Declared, push_only, token::Token};
use crate::{
    engine::Layout,
    github::GitHub,
    installation::{Error, Locked},
    progress::Progress,
};

/// At a unit's start: a registration, a token for one, or, with the unit's own credential, a token minted now.
pub async fn at_start(declared: &Declared, installation: &Locked, progress: &Progress) -> anyhow::Result<()> {
    let settings = &declared.settings;
    let step = progress.step("token", "looking for a saved registration");
    if declared.is_registered()? {
        // It would lie there while jobs run.
        installation.discard_token()?;
        step.done("not needed: the saved registration serves");
        return Ok(());
    }
    if installation.has_fresh_token() {
        step.done("one lies ready");
        return Ok(());
    }
    // One that lapsed is of no use to anybody.
    installation.discard_token()?;
    let lacks = declared.lacks(installation)?;
    let Some(credential) = declared.credential().await? else {
        let why = lacks.context("a credential that was here is gone")?;
        return Err(Error::NoRegistration { why }.into());
    };
    let github = GitHub::new(&settings.github.server, &settings.scope, &credential)?;
    push_only::demand(&github, &declared.identity(), false, progress).await?;
    step.doing("minting a registration token");
    let token = Token::mint(&github, installation, Layout::Contract).await?;
    token.lay(installation)?;
    step.done("minted, laid down 0400 for root");
    Ok(())
}

/// By a person: mint a token when none of the saved registrations serves; whether one was.
pub async fn by_hand(github: &GitHub, installation: &Locked, progress: &Progress) -> anyhow::Result<bool> {
    let step = progress.step("token", "looking for a saved registration");
    let declared = Declared::read(installation)?;
    if declared.settings.ephemeral.is_some() {
        step.done("not needed: every job has a just-in-time configuration of its own");
        return Ok(false);
    }
    if declared.is_registered()? {
        step.done("not needed: the saved registration serves");
        return Ok(false);
    }
    if installation.has_fresh_token() {
        step.done("one lies ready");
        return Ok(true);
    }
    step.doing("minting a registration token");
    let token = Token::mint(github, installation, Layout::Contract).await?;
    token.lay(installation)?;
    step.done("minted, laid down 0400 for root");
    Ok(true)
}
