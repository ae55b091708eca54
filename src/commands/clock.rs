use std::process::ExitCode;

use url::Url;

use crate::github;

/// Compare this machine's clock with a GitHub server's
///
/// PID 1 of a container starts it, and takes no job while the two are minutes apart: GitHub would accept no token. It prints
/// what it found as JSON.
#[derive(Debug, clap::Args)]
pub struct Clock {
    /// The server
    #[arg(value_name = "URL")]
    server: Url,
}

impl Clock {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let reading = github::clock::read(&self.server).await?;
        println!("{}", serde_json::to_string(&reading)?);
        Ok(ExitCode::SUCCESS)
    }
}
