//! GET, as registries want it: with a login when they ask for one, within limits, and never a credential where it
//! does not belong (OCI distribution specification; the Docker token specification).

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::{
    Client, ClientBuilder, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    redirect::{Attempt, Policy},
};
use tokio::sync::RwLock;
use url::Url;

use super::{Error, ImageReference, login::Login, token};

/// Longer than this nobody waits for a registry that is busy; the person decides.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
const MOST_REDIRECTS: usize = 5;

/// A registry's answer, whole and within its limit.
pub struct Answer {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// The way to one image's registry.
pub struct Transport {
    client: Client,
    image: ImageReference,
    base: Url,
    /// What the registry asked for, once it did.
    authorization: RwLock<Option<HeaderValue>>,
}

impl Transport {
    pub fn to(image: &ImageReference) -> Result<Self, Error> {
        let refuse = |why: String| Error::Reference { given: image.to_string(), why };
        let scheme = if image.is_loopback() { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}", image.registry()))
            .map_err(|why| refuse(format!("'{}' is no host: {why}", image.registry())))?;
        let client = client(image).redirect(Policy::custom(follow));
        let client = client.build().map_err(|why| refuse(why.to_string()))?;
        Ok(Self { client, image: image.clone(), base, authorization: RwLock::new(None) })
    }

    /// The address of `path` under this registry's API for the image's repository.
    pub fn address(&self, path: &str) -> Result<Url, Error> {
        let path = format!("/v2/{}/{path}", self.image.repository());
        self.base
            .join(&path)
            .map_err(|why| Error::Manifest { image: self.image.to_string(), why: why.to_string() })
    }

    /// GET an address of the registry; a body of more than `limit` bytes is an error. A registry that is busy, or
    /// that drops the connection, is asked again a few times.
    pub async fn get(&self, address: &Url, accept: &str, limit: usize) -> Result<Answer, Error> {
        let again = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(300))
            .with_max_times(2)
            .with_jitter();
        (|| self.ask(address, accept, limit))
            .retry(again)
            .when(Error::is_passing)
            .adjust(|error, delay| {
                // Nothing left to wait for: it was asked often enough.
                let delay = delay?;
                match error.retry_after() {
                    Some(wanted) if wanted > LONGEST_WAIT => None,
                    Some(wanted) => Some(wanted.max(delay)),
                    None => Some(delay),
                }
            })
            .await
    }

    async fn ask(&self, address: &Url, accept: &str, limit: usize) -> Result<Answer, Error> {
        let mut known = self.authorization.read().await.clone();
        for last in [false, true] {
            let mut request = self.client.get(address.clone()).header(ACCEPT, accept);
            if let Some(authorization) = known {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = request.send().await.map_err(|why| Error::of_request(&self.image, &why))?;
            // Another host, to which we were sent, has nothing to ask of the registry's login.
            let is_ours = response.url().origin() == self.base.origin();
            if response.status() != StatusCode::UNAUTHORIZED || last || !is_ours {
                return self.judge(response, limit).await;
            }
            known = Some(self.authorize(response.headers()).await?);
        }
        unreachable!("the second answer is the last one")
    }

    /// Do what a challenge asks for, and remember the result.
    async fn authorize(&self, headers: &HeaderMap) -> Result<HeaderValue, Error> {
        let image = self.image.clone();
        let login = tokio::task::spawn_blocking(move || Login::find(&image))
            .await
            .unwrap_or_else(|why| std::panic::resume_unwind(why.into_panic()))?;
        let challenges: Vec<&str> =
            headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
        let mut value = token::answer(&self.image, &challenges, login.as_ref()).await?;
        value.set_sensitive(true);
        *self.authorization.write().await = Some(value.clone());
        Ok(value)
    }

    async fn judge(&self, response: Response, limit: usize) -> Result<Answer, Error> {
        let (status, headers) = (response.status(), response.headers().clone());
        if status == StatusCode::OK {
            let body = body(response, limit).await.map_err(|error| error.of(&self.image))?;
            return Ok(Answer { headers, body });
        }
        // What a registry says of itself is a line or two.
        let said = body(response, 1 << 16).await.unwrap_or_default();
        let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(Error::of_status(&self.image, status, &said, wait.map(Duration::from_secs)))
    }
}

/// What every connection to this image's registry has.
pub(super) fn client(image: &ImageReference) -> ClientBuilder {
    let client = Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(30))
        // Of the whole answer: a byte now and then is no progress.
        .timeout(Duration::from_secs(90))
        .user_agent(concat!("vega-builder/", env!("CARGO_PKG_VERSION")));
    // No proxy is between us and ourselves, and no certificate.
    if image.is_loopback() { client.no_proxy().tls_certs_only([]) } else { client }
}

/// Follow a redirect (reqwest leaves credentials behind when the host or the port changes), but never from https to
/// http.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    if from_https && attempt.url().scheme() != "https" {
        return attempt.error("it redirects from https to plain http");
    }
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error("it redirects too often");
    }
    attempt.follow()
}

/// Why a body could not be read.
pub(super) enum BodyError {
    TooLarge(usize),
    Cut(reqwest::Error),
}

impl BodyError {
    pub(super) fn of(self, image: &ImageReference) -> Error {
        match self {
            Self::Cut(why) => Error::of_request(image, &why),
            Self::TooLarge(limit) => Error::Content {
                image: image.to_string(),
                why: format!("it sends more than {} KiB where that can never be needed", limit >> 10),
            },
        }
    }
}

/// The body, unless it is larger than `limit`; its announced length is not believed.
pub(super) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Cut)? {
        if bytes.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
