use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::StatusCode;

use super::ImageReference;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("'{given}' is not an image: {why}; write it as e.g. ghcr.io/owner/image:tag or …@sha256:…")]
    Reference { given: String, why: String },
    #[error("{image}: the registry has no such image; check its name and tag")]
    NotFound { image: String },
    #[error("{image}: the registry refuses to show it ({why}); {hint}")]
    Unauthorized { image: String, why: String, hint: String },
    #[error("{}: the login for {registry} cannot be used: {why}; log in again with `podman login {registry}`", .file.display())]
    Login { file: PathBuf, registry: String, why: String },
    #[error("{registry} cannot be reached: {why}; check the network, then run this command again")]
    Unreachable { registry: String, why: String, stalled: bool },
    #[error("{registry} answered {why}; wait {}, then run this command again", wait_for(*.wait))]
    Server { registry: String, status: u16, why: String, wait: Option<Duration> },
    #[error(
        "{image}: what the registry sent is not what its digest says ({why}); do not use this registry until you know why"
    )]
    Content { image: String, why: String },
    #[error("{image}: {why}")]
    Manifest { image: String, why: String },
    #[error("{image} has no image for {platform}; it has {}", .has.join(", "))]
    Platform { image: String, platform: String, has: Vec<String> },
}

fn wait_for(wait: Option<Duration>) -> String {
    wait.map_or_else(|| "a minute".to_owned(), |wait| format!("{} seconds", wait.as_secs()))
}

/// reqwest's own text names the address only; the cause ("connection refused") is at the end of its chain.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a registry says of its refusal (distribution specification, "Error Codes"), or the status alone.
fn words(status: StatusCode, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        code: String,
        #[serde(default)]
        message: String,
    }
    let said = serde_json::from_slice::<Envelope>(body).ok().and_then(|said| said.errors.into_iter().next());
    match said {
        Some(One { code, message }) if message.is_empty() => format!("{} ({code})", status.as_u16()),
        Some(One { message, .. }) => {
            format!("{} ({})", status.as_u16(), message.trim().chars().take(200).collect::<String>())
        }
        None => status.to_string(),
    }
}

impl Error {
    pub(super) fn of_request(image: &ImageReference, error: &reqwest::Error) -> Self {
        let (registry, stalled) = (image.registry().to_owned(), error.is_timeout());
        let cause = root_cause(error);
        let is_cut = !stalled && (error.is_body() || error.is_decode());
        let why = if is_cut { format!("the connection broke off ({cause})") } else { cause };
        Self::Unreachable { registry, why, stalled }
    }

    pub(super) fn of_status(
        image: &ImageReference,
        status: StatusCode,
        body: &[u8],
        wait: Option<Duration>,
    ) -> Self {
        let why = words(status, body);
        match status {
            StatusCode::NOT_FOUND => Self::NotFound { image: image.to_string() },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::unauthorized(image, None, &why),
            _ => Self::Server { registry: image.registry().to_owned(), status: status.as_u16(), why, wait },
        }
    }

    /// `login` is the file whose login was shown in vain.
    pub(super) fn unauthorized(image: &ImageReference, login: Option<&Path>, why: &str) -> Self {
        let registry = image.registry();
        let hint = match login {
            Some(file) => format!(
                "the login in {} does not do: log in again with `podman login {registry}` or `docker login {registry}`",
                file.display()
            ),
            None => format!(
                "is it private? Log in with `podman login {registry}` or `docker login {registry}`, as \
                 the user who types this command"
            ),
        };
        Self::Unauthorized { image: image.to_string(), why: why.to_owned(), hint }
    }

    /// The same error about another name of the same registry.
    pub(super) fn about(self, other: &ImageReference) -> Self {
        let image = other.to_string();
        match self {
            Self::NotFound { .. } => Self::NotFound { image },
            Self::Unauthorized { why, hint, .. } => Self::Unauthorized { image, why, hint },
            Self::Content { why, .. } => Self::Content { image, why },
            other => other,
        }
    }

    /// The cause alone, for a sentence of another's.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::NotFound { .. } => "the registry lists it, and does not have it".to_owned(),
            Self::Content { why, .. } => why.clone(),
            other => other.to_string(),
        }
    }

    /// Whether the same question may be answered a moment later. Who stalled once has had its time.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Server { status: 429 | 500.., .. } | Self::Unreachable { stalled: false, .. })
    }

    /// Whether it is how a registry says that it has no such call: some answer an unknown path with more than 404.
    pub(super) fn is_unknown_call(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Server { status: 400 | 405 | 406 | 501, .. })
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Server { wait, .. } => *wait,
            _ => None,
        }
    }
}
