//! A cache behind HTTP that takes PUT, as Nix's own `http://` store does.

use std::{sync::Arc, time::Duration};

use futures_util::stream;
use reqwest::{
    Body, Client, RequestBuilder, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
};
use tokio::sync::Mutex;
use url::Url;

use super::Stream;
use crate::cache::{Error, pack::Piece};

#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    base: Url,
    login: Option<(String, String)>,
}

/// An answer takes no longer; the body of a NAR may.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// An upload of which nothing goes through for so long has stalled.
pub const STALLED: Duration = Duration::from_secs(300);
/// So many at most, and half of what a process may have open.
const CONNECTIONS: usize = 512;
/// More of an error's text nobody reads.
const SHOWN: usize = 200;

impl Http {
    /// With a login of a file's, or the one that the address has.
    pub fn new(mut base: Url, login: Option<(String, String)>) -> Result<Self, String> {
        let in_address = !base.username().is_empty();
        if login.is_some() && in_address {
            return Err("two logins are given, one in the address and one in a file: leave one of them out"
                .to_owned());
        }
        if (login.is_some() || in_address) && base.scheme() == "http" && !crate::value::is_loopback(&base) {
            return Err("a password does not go over http: give https".to_owned());
        }
        let client = client().map_err(|why| why.to_string())?;
        let decoded =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let of_address = || (decoded(base.username()), decoded(base.password().unwrap_or_default()));
        let login = login.or_else(|| in_address.then(of_address));
        let _ = (base.set_username(""), base.set_password(None));
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { client, base, login })
    }

    /// Each may have a connection of its own; one that is encrypted costs more to make.
    pub fn questions(&self) -> usize {
        if self.base.scheme() == "http" { CONNECTIONS } else { CONNECTIONS / 4 }
    }

    pub async fn has(&self, name: &str) -> Result<bool, Error> {
        let url = self.url(name);
        let response = self.send(self.client.head(url.clone()).timeout(PATIENCE), &url).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            // What an object store says of a name that it does not list.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(false),
            _ => Err(refused(&url, response).await),
        }
    }

    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let url = self.url(name);
        let response = self.send(self.client.get(url.clone()).timeout(PATIENCE), &url).await?;
        match response.status() {
            StatusCode::OK => {
                let bytes = response.bytes().await.map_err(|why| failed(&url, &why))?;
                Ok(Some(bytes.to_vec()))
            }
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(None),
            _ => Err(refused(&url, response).await),
        }
    }

    pub async fn put(&self, name: &str, bytes: Piece) -> Result<(), Error> {
        let url = self.url(name);
        let request = self.client.put(url.clone()).header(CONTENT_TYPE, kind(name)).body(bytes);
        accepted(&url, self.send(request.timeout(PATIENCE), &url).await?).await
    }

    pub async fn stream(&self, name: &str, stream: Stream) -> Result<(), Error> {
        let url = self.url(name);
        let mut request = self.client.put(url.clone()).header(CONTENT_TYPE, kind(name));
        if let Some(size) = stream.size {
            request = request.header(CONTENT_LENGTH, size);
        }
        accepted(&url, streamed(self.with_login(request), &url, stream).await?).await
    }

    fn url(&self, name: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{name}", self.base.path()));
        url
    }

    async fn send(&self, request: RequestBuilder, url: &Url) -> Result<Response, Error> {
        self.with_login(request).send().await.map_err(|why| failed(url, &why))
    }

    fn with_login(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

pub fn client() -> Result<Client, Error> {
    Client::builder()
        .connect_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(CONNECTIONS)
        // What a cache redirects to is another server, which has no business with our upload.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("vega-builder/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|why| Error::Client(why.to_string()))
}

/// Send a file while it is made: it may take as long as something goes through.
pub async fn streamed(request: RequestBuilder, url: &Url, stream: Stream) -> Result<Response, Error> {
    streamed_within(STALLED, request, url, stream).await
}

async fn streamed_within(
    stalled: Duration,
    request: RequestBuilder,
    url: &Url,
    stream: Stream,
) -> Result<Response, Error> {
    let moved = Arc::new(Mutex::new(tokio::time::Instant::now()));
    let sent = request.body(body(stream, moved.clone())).send();
    tokio::pin!(sent);
    loop {
        let deadline = *moved.lock().await + stalled;
        tokio::select! {
            response = &mut sent => return response.map_err(|why| failed(url, &why)),
            () = tokio::time::sleep_until(deadline) => {
                if *moved.lock().await + stalled <= tokio::time::Instant::now() {
                    return Err(Error::Stalled { url: shown(url), seconds: stalled.as_secs() });
                }
            }
        }
    }
}

/// The pieces as a request's body; `moved` is when the last one was asked for.
fn body(stream: Stream, moved: Arc<Mutex<tokio::time::Instant>>) -> Body {
    let pieces = stream::unfold((stream.pieces, moved), |(mut pieces, moved)| async move {
        let piece = pieces.recv().await?;
        *moved.lock().await = tokio::time::Instant::now();
        Some((piece, (pieces, moved)))
    });
    Body::wrap_stream(pieces)
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("narinfo") => "text/x-nix-narinfo",
        Some("nar" | "zst" | "xz") => "application/x-nix-nar",
        _ => "text/plain",
    }
}

pub async fn accepted(url: &Url, response: Response) -> Result<(), Error> {
    if response.status().is_success() { Ok(()) } else { Err(refused(url, response).await) }
}

pub async fn refused(url: &Url, response: Response) -> Error {
    let (status, wait) = (response.status(), wait(&response));
    let text = response.text().await.unwrap_or_default();
    Error::Refused { url: shown(url), status, said: said(&text), wait }
}

/// How long the other side wants us to wait.
pub fn wait(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A reason as the end of a sentence.
pub fn said(text: &str) -> String {
    let text: String = crate::progress::printable(text.trim()).chars().take(SHOWN).collect();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

pub fn failed(url: &Url, why: &reqwest::Error) -> Error {
    // The innermost cause is the one that says what happened.
    let mut cause: &dyn std::error::Error = why;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let why = if why.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
    Error::Network { url: shown(url), why }
}

/// Without a query, in which presigned addresses have their right to be used.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Duration};

    use tokio::sync::mpsc;

    use super::{Error, Stream, client, streamed_within};
    use crate::cache::pack::Piece;

    #[tokio::test]
    async fn an_upload_that_nobody_reads_any_more_is_an_error_and_no_hang() {
        // It takes the connection, and as much as fits into the kernel's own buffers.
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url: url::Url = format!("http://{}/nar/x", server.local_addr().unwrap()).parse().unwrap();
        let (send, pieces) = mpsc::channel(4);
        let feeding = tokio::spawn(async move {
            let mut fed = 0_u64;
            while send.send(Ok(Piece::from(vec![7; 65536]))).await.is_ok() {
                fed += 1;
            }
            fed
        });
        let request = client().unwrap().put(url.clone());
        let stream = Stream { pieces, size: None, hash: None };
        let outcome = streamed_within(Duration::from_millis(300), request, &url, stream).await;
        assert!(matches!(outcome, Err(Error::Stalled { .. })), "{outcome:?}");
        assert!(feeding.await.unwrap() > 1, "nothing went out at first");
    }
}
