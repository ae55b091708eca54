//! GitHub's device flow (RFC 8628): a person types a code into a page, on whichever device; what GitHub then gives goes
//! to Vega once, and is kept nowhere.

use std::time::Duration;

use reqwest::{Client, header::ACCEPT};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use super::{answered, credential::Login, posted};
use crate::cache::{Error, place::http};

/// Vega's public client at GitHub; it has no secret.
const CLIENT_ID: &str = "Iv23liYWrhwLxxmY8iK3";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What a person types, and where.
#[derive(Deserialize)]
pub struct Code {
    #[serde(rename = "user_code")]
    pub typed: String,
    pub verification_uri: String,
    #[serde(rename = "device_code")]
    ours: Zeroizing<String>,
    expires_in: u64,
    interval: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("the code has lapsed before anybody typed it in: type `vega-builder login` again")]
    Lapsed,
    #[error("the login was refused at GitHub; `vega-builder login` asks again")]
    Denied,
    #[error("GitHub does not let this device log in: {0}")]
    Other(String),
}

/// Ask for a code.
pub async fn begin(client: &Client, github: &Url) -> Result<Code, Error> {
    let url = at(github, "login/device/code");
    answered(
        &url,
        posted(client, &url, &json!({ "client_id": CLIENT_ID })).header(ACCEPT, "application/json"),
    )
    .await
}

/// Wait until it was typed in.
pub async fn wait(client: &Client, github: &Url, code: &Code) -> Result<Zeroizing<String>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: Option<Zeroizing<String>>,
        error: Option<String>,
        interval: Option<u64>,
    }
    let url = at(github, "login/oauth/access_token");
    let body = json!({ "client_id": CLIENT_ID, "device_code": &*code.ours, "grant_type": GRANT });
    let mut pause = Duration::from_secs(code.interval);
    let lapses = tokio::time::Instant::now() + Duration::from_secs(code.expires_in);
    loop {
        tokio::time::sleep(pause).await;
        if tokio::time::Instant::now() > lapses {
            return Err(DeviceError::Lapsed.into());
        }
        let request = posted(client, &url, &body).header(ACCEPT, "application/json");
        let answer: Answer = match answered(&url, request).await {
            Ok(answer) => answer,
            // The person is still typing: a line that is cut is no end.
            Err(why) if why.is_passing() => continue,
            Err(why) => return Err(why),
        };
        if let Some(token) = answer.access_token {
            return Ok(token);
        }
        match answer.error.as_deref() {
            Some("authorization_pending") => {}
            Some("slow_down") => pause = Duration::from_secs(answer.interval.unwrap_or(pause.as_secs() + 5)),
            Some("expired_token") => return Err(DeviceError::Lapsed.into()),
            Some("access_denied") => return Err(DeviceError::Denied.into()),
            other => {
                let why = crate::progress::printable(other.unwrap_or("no reason given"));
                return Err(DeviceError::Other(why).into());
            }
        }
    }
}

/// Change GitHub's token for a login of Vega's.
pub async fn enroll(client: &Client, base: &str, token: &str) -> Result<Login, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        credential: Zeroizing<String>,
        login: String,
        user_id: String,
        #[serde(default)]
        expires_at: i64,
    }
    let url: Url = format!("{base}/api/owner/enroll").parse().expect("it was checked");
    let request = client.post(url.clone()).bearer_auth(token).timeout(http::PATIENCE);
    let Answer { credential, login, user_id, expires_at } = answered(&url, request).await?;
    Ok(Login { credential, login, user_id, expires_at, url: base.to_owned() })
}

fn at(github: &Url, path: &str) -> Url {
    let mut url = github.clone();
    url.set_path(&format!("{}/{path}", github.path().trim_end_matches('/')));
    url
}
