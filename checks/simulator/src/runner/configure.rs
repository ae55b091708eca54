use std::{fs, os::unix::fs::OpenOptionsExt as _};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{
    options::Options,
    root::{Saved, root},
    wire::client,
};
use crate::github::protocol::{AddRequest, RegistrationRequest};

/// Register with the token, and save what comes back.
pub fn configure(options: &Options) -> anyhow::Result<()> {
    if Saved::is_there() {
        bail!(
            "Cannot configure the runner because it is already configured. To reconfigure the runner, run 'config.cmd remove' or './config.sh remove' first."
        );
    }
    if !options.unattended {
        bail!("The stand-in asks no questions: --unattended");
    }
    let missing = |name: &str| {
        format!("Invalid configuration provided for {name}. Terminating unattended configuration.")
    };
    let url = options.url.as_ref().with_context(|| missing("url"))?;
    let token = options.token.as_ref().with_context(|| missing("token"))?;
    let name = options.name.clone().unwrap_or_else(|| "stand-in".to_owned());
    let labels = options.labels.as_deref().unwrap_or_default();
    // `https://HOST/owner/name`, or `https://HOST/organisation`.
    let parsed =
        reqwest::Url::parse(url).ok().filter(reqwest::Url::has_host).with_context(|| missing("url"))?;
    let server = parsed.origin().ascii_serialization();
    let client = client()?;

    println!("# Authentication");
    let reply = client
        .post(format!("{server}/api/v3/actions/runner-registration"))
        .header("authorization", format!("RemoteAuth {token}"))
        .json(&RegistrationRequest { url: url.clone(), runner_event: "register".to_owned() })
        .send()
        .map_err(reqwest::Error::without_url)?;
    if !reply.status().is_success() {
        println!("Http response code: {} from 'POST {server}/actions/runner-registration'", reply.status());
        bail!("Response status code does not indicate success: {}.", reply.status());
    }
    println!("√ Connected to GitHub");

    let request = AddRequest {
        name,
        labels: labels
            .split(',')
            .map(str::trim)
            .filter(|label| !label.is_empty())
            .map(str::to_owned)
            .collect(),
        ephemeral: options.ephemeral,
        replace: options.replace,
        group: options.group.clone(),
        work: options.work.clone().unwrap_or_else(|| "_work".to_owned()),
    };
    let reply = client
        .post(format!("{server}/_runner/agents"))
        .header("authorization", format!("RemoteAuth {token}"))
        .json(&request)
        .send()?;
    if !reply.status().is_success() {
        let said: Value = reply.json().unwrap_or_default();
        bail!("{}", said["message"].as_str().unwrap_or("The runner could not be added"));
    }
    let files: Vec<(String, String)> = reply.json()?;
    let root = root()?;
    for (name, text) in files {
        let path = root.join(name);
        let file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        std::io::Write::write_all(&mut file.with_context(|| path.display().to_string())?, text.as_bytes())?;
    }
    println!("√ Runner successfully added");
    println!("√ Settings Saved.");
    Ok(())
}
