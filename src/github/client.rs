use std::time::Duration;

use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use octocrab::Octocrab;
use url::Url;

use super::{Credential, Error, Operation};
use crate::value::{Organization, Repository, Scope};

/// What GitHub is asked about, as a part of an address.
pub trait Subject: std::fmt::Display + Clone {
    fn route(&self) -> String;
}

impl Subject for Repository {
    fn route(&self) -> String {
        format!("/repos/{}/{}", self.owner(), self.name())
    }
}

impl Subject for Scope {
    fn route(&self) -> String {
        match self {
            Self::Repository(repository) => repository.route(),
            Self::Organization(organization) => organization.route(),
        }
    }
}

impl Subject for Organization {
    fn route(&self) -> String {
        format!("/orgs/{self}")
    }
}

/// GitHub as somebody asks it about one repository, or about whatever a runner is registered at.
///
/// Requests that change something are sent once: a lost reply must not mint a second token. Reads are
/// repeated twice. No redirect is followed, so the authorisation goes to the one host it is meant for.
#[derive(Clone)]
pub struct GitHub<S = Scope> {
    client: Octocrab,
    server: Url,
    pub(super) subject: S,
    origin: String,
}

/// What a request came back with.
pub(super) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    pub(super) body: zeroize::Zeroizing<Vec<u8>>,
}

const READ_ATTEMPTS: u32 = 3;

impl<S: Subject> GitHub<S> {
    /// `server` is `https://github.com` or a GitHub Enterprise Server, whose API is at `/api/v3`.
    pub fn new(server: &Url, subject: &S, credential: &Credential) -> Result<Self, Error> {
        let refuse = |why: &dyn std::fmt::Display| Error::Client(why.to_string());
        let api = match server.host_str() {
            Some("github.com") => "https://api.github.com".to_owned(),
            // GitHub Enterprise Cloud with data residency.
            Some(host) if host.ends_with(".ghe.com") => format!("https://api.{host}"),
            _ => format!("{}/api/v3", server.as_str().trim_end_matches('/')),
        };
        let client = Octocrab::builder()
            .base_uri(api)
            .and_then(|builder| {
                builder
                    .personal_token(credential.expose().to_owned())
                    .set_connect_timeout(Some(Duration::from_secs(10)))
                    .set_read_timeout(Some(Duration::from_secs(30)))
                    .set_write_timeout(Some(Duration::from_secs(30)))
                    .build()
            })
            .map_err(|error| refuse(&deepest(&error)))?;
        Ok(Self {
            client,
            server: server.clone(),
            subject: subject.clone(),
            origin: credential.origin.clone(),
        })
    }

    /// The same GitHub, asked about something else.
    #[must_use]
    pub fn of<T: Subject>(&self, subject: &T) -> GitHub<T> {
        GitHub {
            client: self.client.clone(),
            server: self.server.clone(),
            subject: subject.clone(),
            origin: self.origin.clone(),
        }
    }

    pub fn subject(&self) -> &S {
        &self.subject
    }

    /// Its page.
    pub fn page(&self, rest: &str) -> String {
        format!("{}/{}{rest}", self.server.as_str().trim_end_matches('/'), self.subject)
    }

    pub(super) fn route(&self, rest: &str) -> String {
        self.subject.route() + rest
    }

    pub(super) async fn read(&self, operation: Operation, route: &str) -> Result<Reply, Error> {
        let mut attempt = 1;
        loop {
            let result = self.check(operation, self.client._get(route).await).await;
            match result {
                Err(Error::Server { .. } | Error::Unreachable { .. } | Error::LostReply { .. })
                    if attempt < READ_ATTEMPTS =>
                {
                    tokio::time::sleep(Duration::from_millis(300 << attempt)).await;
                    attempt += 1;
                }
                Err(Error::LostReply { operation, target, server, why }) => {
                    return Err(Error::Unreachable { operation, target, server, why });
                }
                other => return other,
            }
        }
    }

    /// How far this host's clock is ahead of GitHub's, in seconds; behind it, when negative.
    pub async fn clock_ahead(&self) -> Result<Option<i64>, Error> {
        let reply = self.read(Operation::ReadRepository, &self.route("")).await?;
        let date = reply.headers.get(http::header::DATE).and_then(|date| date.to_str().ok());
        Ok(super::clock::of_header(date))
    }

    /// Sent once, whatever happens.
    pub(super) async fn post(&self, operation: Operation, route: &str) -> Result<Reply, Error> {
        self.check(operation, self.client._post(route, None::<&()>).await).await
    }

    /// The same with something to say.
    pub(super) async fn post_body(
        &self,
        operation: Operation,
        route: &str,
        body: &serde_json::Value,
    ) -> Result<Reply, Error> {
        self.check(operation, self.client._post(route, Some(body)).await).await
    }

    /// Deleting twice is deleting once, so a lost reply may be repeated by the caller.
    pub(super) async fn delete(&self, operation: Operation, route: &str) -> Result<Reply, Error> {
        self.check(operation, self.client._delete(route, None::<&()>).await).await
    }

    async fn check<B>(
        &self,
        operation: Operation,
        response: octocrab::Result<http::Response<B>>,
    ) -> Result<Reply, Error>
    where
        B: http_body::Body,
        B::Error: std::error::Error + 'static,
    {
        let response = response.map_err(|error| self.transport(operation, &error))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| self.transport(operation, &error))?;
        let body = zeroize::Zeroizing::new(body.to_bytes().to_vec());
        let reply = Reply { status: parts.status, headers: parts.headers, body };
        if reply.status.is_success() { Ok(reply) } else { Err(self.refusal(operation, &reply)) }
    }

    /// Whether the request can have reached GitHub decides between "try again" and "it may have happened".
    fn transport(&self, operation: Operation, error: &(dyn std::error::Error + 'static)) -> Error {
        let (target, server) = (self.subject.to_string(), self.server.to_string());
        let why = deepest(error);
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.downcast_ref::<std::io::Error>().is_some_and(|error| {
                use std::io::ErrorKind as Kind;
                matches!(
                    error.kind(),
                    Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable
                )
            }) || error.to_string().contains("dns error")
            {
                return Error::Unreachable { operation, target, server, why };
            }
            cause = error.source();
        }
        Error::LostReply { operation, target, server, why }
    }

    fn refusal(&self, operation: Operation, reply: &Reply) -> Error {
        let (target, origin) = (self.subject.to_string(), self.origin.clone());
        let status = reply.status.as_u16();
        let header = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
        let message = message(&reply.body);
        let limited = header("x-ratelimit-remaining") == Some("0") || header("retry-after").is_some();
        match status {
            301 | 302 | 307 | 308 => Error::Moved { operation, target, status },
            401 => Error::Unauthorized { operation, target, origin },
            429 => Error::RateLimited { operation, target, status, when: when(&reply.headers) },
            // A secondary limit may come without any of the headers.
            403 if limited || message.to_lowercase().contains("rate limit") => {
                Error::RateLimited { operation, target, status, when: when(&reply.headers) }
            }
            403 => {
                if let Some((_, url)) = header("x-github-sso").and_then(|sso| sso.split_once("url=")) {
                    return Error::Sso { operation, target, url: url.to_owned() };
                }
                let needed = header("x-accepted-github-permissions").unwrap_or("administration=write");
                Error::Forbidden { operation, target, origin, message, needed: needed.to_owned() }
            }
            404 => Error::NotFound { operation, target, origin },
            409 => Error::Conflict { operation, target, message },
            422 => Error::Invalid { operation, target, message },
            500..=599 => Error::Server { operation, target, status },
            _ => Error::Answer { operation, target, status, why: message },
        }
    }

    pub(super) fn parsed<T: serde::de::DeserializeOwned>(
        &self,
        operation: Operation,
        reply: &Reply,
    ) -> Result<T, Error> {
        serde_json::from_slice(&reply.body).map_err(|why| Error::Answer {
            operation,
            target: self.subject.to_string(),
            status: reply.status.as_u16(),
            // serde's text may quote a value; its place in the reply is enough.
            why: format!("line {}, column {}", why.line(), why.column()),
        })
    }
}

/// GitHub's own words, from an error's body.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        message: String,
    }
    serde_json::from_slice::<Body>(body).map_or_else(|_| "no message".to_owned(), |body| body.message)
}

/// When the limit ends: `retry-after` (seconds) or `x-ratelimit-reset` (seconds since 1970).
fn when(headers: &HeaderMap) -> String {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<i64>().ok();
    let reset = || Some(number("x-ratelimit-reset")? - Timestamp::now().as_second());
    match number("retry-after").or_else(reset) {
        Some(seconds) if seconds > 90 => format!("in {} minutes", (seconds + 59) / 60),
        Some(seconds) => format!("in {} seconds", seconds.max(1)),
        None => "in a minute".to_owned(),
    }
}

fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
