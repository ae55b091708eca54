use std::{io::Read as _, io::Write as _, process::ExitCode};

use zeroize::Zeroizing;

use crate::{
    github::{Credential, GitHub},
    runner::Environment,
};

/// Mint a registration token from a personal access token on the standard input
///
/// A process of its own, so that neither the personal access token nor a network client's memory stays in
/// PID 1. For trusted local use only; `vega-builder up` never hands a personal access token in.
#[derive(Debug, clap::Args)]
pub struct Mint {}

impl Mint {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().read_to_string(&mut text)?;
        let environment = Environment::read(|name| std::env::var(name).ok())?;
        let credential = Credential::from_text(&text, "GITHUB_PAT")?;
        let github = GitHub::new(&environment.server, &environment.scope, &credential)?;
        let (token, _) = github.mint_registration_token().await?;
        std::io::stdout().write_all(token.expose().as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
