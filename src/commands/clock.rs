use std::process::ExitCode;

use url::Url;

use crate::github;

/// Compare this machine's clock with a GitHub server's
///
/// PID 1 of a container starts it, and takes no job while the two are minutes apart: GitHub would accept no token. It says
/// nothing when they agree, and one sentence when they do not.
#[derive(Debug, clap::Args)]
pub struct Clock {
    /// The server
    #[arg(value_name = "URL")]
    server: Url,
}

impl Clock {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let ahead = github::clock::ahead(&self.server).await?;
        if ahead.abs() > github::clock::TOLERANCE {
            println!("{}", github::clock::sentence(ahead));
        }
        Ok(ExitCode::SUCCESS)
    }
}
