//! Faults on demand, and a record of every request, for all that the simulator plays.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{
        HeaderMap, Uri,
        header::{AUTHORIZATION, CONTENT_LENGTH},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Kind {
    /// The reply is this one, and nothing happens.
    Status { status: u16, headers: Vec<(String, String)>, message: String },
    /// It happens, later.
    Delay(Duration),
    /// It happens, but the connection is cut without a reply.
    DropReply,
    /// It happens, but the connection is cut after half of the reply's body.
    CutShort,
    /// It happens, but with another digest in its head.
    Announce(String),
    /// Instead of it come so many megabytes.
    Flood(usize),
    /// Instead of it comes a byte now and then, for ever.
    Trickle,
    /// Another host is to be asked.
    Redirect(String),
    /// The answer is that of another path: a tag that has moved, say.
    Instead(String),
}

/// Something that goes wrong with the next requests that fit.
#[derive(Debug, Clone)]
pub struct Fault {
    method: &'static str,
    /// A part of the path.
    path: String,
    /// How many that fit go well before.
    spared: usize,
    /// How often.
    count: usize,
    kind: Kind,
}

impl Fault {
    pub fn new(method: &'static str, path: &str, kind: Kind) -> Self {
        Self { method, path: path.to_owned(), spared: 0, count: 1, kind }
    }

    /// A refusal in the form of whom is played, with headers.
    pub fn status(method: &'static str, path: &str, status: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Self::new(method, path, Kind::Status { status, headers, message: "a fault on demand".to_owned() })
    }

    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Let so many that fit go well first.
    #[must_use]
    pub fn after(mut self, spared: usize) -> Self {
        self.spared = spared;
        self
    }
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub status: u16,
    /// Whether it carried a credential.
    pub authorized: bool,
}

#[derive(Default)]
struct Inner {
    waiting: Vec<Fault>,
    requests: Vec<Recorded>,
}

/// The faults that wait for their request; shared by a server and whoever plays with it.
#[derive(Clone)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
    refusal: fn(u16, &str) -> Response,
}

impl Faults {
    /// `refusal` gives a status in the form of whom is played.
    pub fn new(refusal: fn(u16, &str) -> Response) -> Self {
        Self { inner: Arc::default(), refusal }
    }

    pub fn add(&self, fault: Fault) {
        self.lock().waiting.push(fault);
    }

    /// What still waits does not come.
    pub fn clear(&self) {
        self.lock().waiting.clear();
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that fits this request, when there is one left.
    fn next(&self, method: &str, path: &str) -> Option<Kind> {
        let mut inner = self.lock();
        let fits = |fault: &Fault| fault.count > 0 && fault.method == method && path.contains(&fault.path);
        let fault = inner.waiting.iter_mut().find(|fault| fits(fault))?;
        if fault.spared > 0 {
            fault.spared -= 1;
            return None;
        }
        fault.count -= 1;
        Some(fault.kind.clone())
    }

    /// The layer around a server's routes.
    pub async fn around(State(faults): State<Self>, mut request: Request, next: Next) -> Response {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let authorized = request.headers().contains_key(AUTHORIZATION);
        let response = match faults.next(&method, &path) {
            None => next.run(request).await,
            Some(Kind::Status { status, headers, message }) => {
                let mut response = (faults.refusal)(status, &message);
                for (name, value) in headers {
                    if let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), value.parse()) {
                        response.headers_mut().insert(name, value);
                    }
                }
                response
            }
            Some(Kind::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                next.run(request).await
            }
            Some(Kind::DropReply) => {
                next.run(request).await;
                broken_off(Bytes::new(), 1000, HeaderMap::new())
            }
            Some(Kind::CutShort) => {
                let (parts, body) = next.run(request).await.into_parts();
                let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
                broken_off(whole.slice(..whole.len() / 2), whole.len(), parts.headers)
            }
            Some(Kind::Announce(digest)) => {
                let mut response = next.run(request).await;
                if let Ok(digest) = digest.parse() {
                    response.headers_mut().insert("docker-content-digest", digest);
                }
                response
            }
            Some(Kind::Flood(megabytes)) => flood(megabytes),
            Some(Kind::Trickle) => trickle(),
            Some(Kind::Redirect(to)) => {
                (axum::http::StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response()
            }
            Some(Kind::Instead(other)) => {
                *request.uri_mut() = other.parse::<Uri>().unwrap_or_default();
                next.run(request).await
            }
        };
        let status = response.status().as_u16();
        faults.lock().requests.push(Recorded { method, path, status, authorized });
        response
    }
}

/// A body that breaks off before its announced length: the connection is cut.
fn broken_off(begin: Bytes, announced: usize, headers: HeaderMap) -> Response {
    let pieces = [Ok(begin), Err(std::io::Error::other("cut"))];
    let mut response = Response::new(Body::from_stream(futures_util::stream::iter(pieces)));
    *response.headers_mut() = headers;
    response.headers_mut().insert(CONTENT_LENGTH, announced.into());
    response
}

fn trickle() -> Response {
    let bytes = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    });
    Response::new(Body::from_stream(bytes))
}

/// A body that goes on and on, without a length to be warned by.
fn flood(megabytes: usize) -> Response {
    let megabyte = Bytes::from(vec![b' '; 1 << 20]);
    let pieces = std::iter::repeat_n(megabyte, megabytes).map(Ok::<_, std::io::Error>);
    Response::new(Body::from_stream(futures_util::stream::iter(pieces)))
}
