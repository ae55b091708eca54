//! Which paths other caches have already: those need not leave here.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use reqwest::{Client, StatusCode};

use super::Error;

/// Caches that whoever takes our paths asks as well.
#[derive(Debug)]
pub struct Upstreams {
    client: Client,
    all: Vec<Upstream>,
}

#[derive(Debug)]
struct Upstream {
    base: String,
    /// It did not answer: it is not asked again.
    away: AtomicBool,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Upstreams {
    pub fn new(addresses: &[String]) -> Result<Self, Error> {
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(PATIENCE)
            // A page that asks for a login answers 200 as well.
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(64)
            .build()
            .map_err(|why| Error::Address { given: addresses.join(" "), why: why.to_string() })?;
        let all = addresses.iter().map(|address| Upstream {
            base: address.trim_end_matches('/').to_owned(),
            away: AtomicBool::new(false),
        });
        Ok(Self { client, all: all.collect() })
    }

    /// Those that were away may be back.
    pub fn ask_again(&self) {
        self.all.iter().for_each(|upstream| upstream.away.store(false, Ordering::Relaxed));
    }

    /// The upstream that has the path of this narinfo for certain: only its own 200 counts.
    pub async fn having(&self, name: &str) -> Option<&str> {
        for upstream in &self.all {
            if upstream.away.load(Ordering::Relaxed) {
                continue;
            }
            match self.client.head(format!("{}/{name}", upstream.base)).send().await {
                Ok(response) if response.status() == StatusCode::OK => return Some(&upstream.base),
                Ok(_) => {}
                Err(_) => upstream.away.store(true, Ordering::Relaxed),
            }
        }
        None
    }

    /// Those that did not answer.
    pub fn away(&self) -> Vec<&str> {
        let away = |upstream: &&Upstream| upstream.away.load(Ordering::Relaxed);
        self.all.iter().filter(away).map(|upstream| upstream.base.as_str()).collect()
    }
}
