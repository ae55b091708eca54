//! Requests to the simulated GitHub.

use std::time::Duration;

use reqwest::blocking::{Client, Response};
use serde::Serialize;

/// A client that waits as long as a poll lasts.
pub fn client() -> anyhow::Result<Client> {
    Ok(Client::builder().timeout(Duration::from_secs(20)).no_proxy().build()?)
}

pub fn post(client: &Client, url: &str, body: &impl Serialize) -> reqwest::Result<Response> {
    client.post(url).json(body).send()
}
