use oci_client::errors::OciDistributionError;

use super::ImageReference;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("'{given}' is not an image: {why}; write it as e.g. ghcr.io/owner/image:tag or …@sha256:…")]
    Reference { given: String, why: String },
    #[error("{image}: the registry has no such image; check its name and tag")]
    NotFound { image: String },
    #[error(
        "{image}: the registry refuses to show it ({why}); is it private? {registry} is asked without a login: make the image public"
    )]
    Unauthorized { image: String, registry: String, why: String },
    #[error("{registry} cannot be reached: {why}; check the network, then run this command again")]
    Unreachable { registry: String, why: String },
    #[error("{registry} answered {why}; wait a minute, then run this command again")]
    Server { registry: String, why: String },
    #[error(
        "{image}: what the registry sent is not what its digest says ({why}); do not use this registry until you know why"
    )]
    Content { image: String, why: String },
    #[error("{image}: {why}")]
    Manifest { image: String, why: String },
    #[error("{image} has no image for {platform}; it has {}", .has.join(", "))]
    Platform { image: String, platform: String, has: Vec<String> },
}

/// reqwest's own text names the address only; the cause ("connection refused") is at the end of its chain.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl Error {
    pub(super) fn from_client(image: &ImageReference, error: &OciDistributionError) -> Self {
        use OciDistributionError as E;
        let (image, registry) = (image.to_string(), image.registry().to_owned());
        match error {
            E::ImageManifestNotFoundError(_) | E::ServerError { code: 404, .. } => Self::NotFound { image },
            E::RegistryError { envelope, .. } => {
                use oci_client::errors::OciErrorCode as Code;
                match envelope.errors.first().map(|e| &e.code) {
                    Some(Code::ManifestUnknown | Code::NameUnknown | Code::NotFound) => {
                        Self::NotFound { image }
                    }
                    Some(Code::Denied | Code::Unauthorized) => {
                        Self::Unauthorized { image, registry, why: envelope.to_string() }
                    }
                    _ => Self::Server { registry, why: envelope.to_string() },
                }
            }
            E::UnauthorizedError { .. } => {
                Self::Unauthorized { image, registry, why: "not authorised".to_owned() }
            }
            E::AuthenticationFailure(why) => Self::Unauthorized { image, registry, why: why.clone() },
            E::ServerError { code, message, .. } => {
                Self::Server { registry, why: format!("{code} {}", message.trim()).trim().to_owned() }
            }
            E::RequestError(error) if error.is_body() || error.is_decode() => {
                Self::Content { image, why: format!("truncated: {}", root_cause(error)) }
            }
            E::RequestError(error) => Self::Unreachable { registry, why: root_cause(error) },
            E::DigestError(why) => Self::Content { image, why: why.to_string() },
            other => Self::Manifest { image, why: other.to_string() },
        }
    }
}
