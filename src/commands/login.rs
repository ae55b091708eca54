//! `login`: make this machine known to Vega.

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;
use url::Url;

use crate::{
    cache::{
        place::http,
        vega::{self, CONTROL_PLANE, device},
    },
    progress::{Output, Progress},
};

/// Log in at Vega, to push from this machine to your own namespace
///
/// GitHub shows a page that asks for a code, on any of your devices. What GitHub then gives goes to Vega once and is kept
/// nowhere; Vega's own credential is kept in ~/.config/vega/credential, which only you can read. A job needs no login: it
/// shows its own identity.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder login
  vega-builder push --to vega ./result")]
pub struct LoginCommand {
    /// Another control plane than Vega's
    #[arg(long, value_name = "URL", env = "VEGA_URL", default_value = CONTROL_PLANE)]
    vega_url: String,
    /// Where the code is typed in: Vega's client is known at github.com alone
    #[arg(long, value_name = "URL", default_value = "https://github.com", hide = true)]
    github_url: String,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl LoginCommand {
    pub fn output(&self) -> Output {
        self.output
    }

    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.output);
        let path = vega::login_path()?;
        let base = vega::checked(&self.vega_url)?;
        let github: Url = vega::checked(&self.github_url)?.parse()?;
        let client = http::client()?;
        let code = device::begin(&client, &github).await?;
        progress.note(&format!("open {} and type the code {}", code.verification_uri, code.typed));
        let step = progress.step("github", "waiting for the code to be typed in");
        let token = device::wait(&client, &github, &code).await?;
        step.done("the code was typed in");
        let step = progress.step("vega", &format!("enrolling at {base}"));
        let login = device::enroll(&client, &base, &token).await?;
        login.keep(&path)?;
        let ends = Timestamp::from_millisecond(login.expires_at).ok().filter(|_| login.expires_at > 0);
        let until = ends.map(|ends| ends.strftime("%Y-%m-%d").to_string());
        step.done(&format!("the credential is in {}", path.display()));
        let lasts = until.as_ref().map_or_else(String::new, |until| format!(" until {until}"));
        let name = crate::progress::printable(&login.login);
        progress.result(
            &format!("logged in as {name}{lasts}; `vega-builder push --to vega ./result` pushes"),
            &json!({ "login": name, "tenant": format!("owner:{}", login.user_id), "until": until, "url": base }),
        );
        Ok(ExitCode::SUCCESS)
    }
}
