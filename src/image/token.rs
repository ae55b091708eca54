//! What a registry wants to see: nothing but a token for everybody, a token for a login, or the login itself.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use docker_credential::DockerCredential;
use http_auth::{ChallengeRef, parse_challenges};
use reqwest::{
    header::{CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};
use url::{Url, form_urlencoded::Serializer};

use super::{
    Error, ImageReference,
    login::Login,
    transport::{body, client},
};
use crate::value::is_loopback;

/// A token is a few kilobytes.
const LARGEST: usize = 1 << 18;

/// A token service's answer; the older name is still the more common one.
#[derive(serde::Deserialize)]
struct Reply {
    token: Option<String>,
    access_token: Option<String>,
}

/// The `Authorization` that the registry's `challenges` ask for.
pub async fn answer(
    image: &ImageReference,
    challenges: &[&str],
    login: Option<&Login>,
) -> Result<HeaderValue, Error> {
    let refuse = |why: &str| Error::unauthorized(image, login.map(|login| login.file.as_path()), why);
    let parsed: Vec<ChallengeRef<'_>> =
        challenges.iter().filter_map(|text| parse_challenges(text).ok()).flatten().collect();
    let scheme = |name: &str| parsed.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(name));
    let text = match (scheme("Bearer"), scheme("Basic"), login.map(|login| &login.credential)) {
        (Some(challenge), ..) => format!("Bearer {}", bearer(image, challenge, login).await?),
        (None, Some(_), Some(DockerCredential::UsernamePassword(name, password))) => basic(name, password),
        (None, Some(_), _) => return Err(refuse("it asks for a name and a password")),
        (None, None, _) => return Err(refuse("it does not say how to log in")),
    };
    HeaderValue::from_str(&text).map_err(|_| refuse("its token is no token"))
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// The token that the registry's own token service gives for pulling this one repository.
async fn bearer(
    image: &ImageReference,
    challenge: &ChallengeRef<'_>,
    login: Option<&Login>,
) -> Result<String, Error> {
    let refuse = |why: &str| Error::unauthorized(image, login.map(|login| login.file.as_path()), why);
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    let realm = parameter("realm").and_then(|realm| Url::parse(&realm).ok());
    let mut realm = realm.ok_or_else(|| refuse("it does not say where its tokens are"))?;
    // A login sent in the clear is a login lost.
    if realm.scheme() != "https" && !(image.is_loopback() && is_loopback(&realm)) {
        return Err(refuse(&format!("it wants the login sent to {realm}, which is not https")));
    }
    // Without redirects: one that asks for the same body again would carry a refresh token to another host.
    let client = client(image).redirect(Policy::none());
    let client = client.build().map_err(|why| refuse(&why.to_string()))?;
    let scope = format!("repository:{}:pull", image.repository());
    let service = parameter("service").unwrap_or_default();
    let request = match login.map(|login| &login.credential) {
        Some(DockerCredential::IdentityToken(refresh)) => {
            let form = Serializer::new(String::new())
                .extend_pairs([("grant_type", "refresh_token"), ("service", &service), ("scope", &scope)])
                .extend_pairs([("client_id", "vega-builder"), ("refresh_token", refresh)])
                .finish();
            client.post(realm).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
        }
        other => {
            realm.query_pairs_mut().append_pair("service", &service).append_pair("scope", &scope);
            match other {
                Some(DockerCredential::UsernamePassword(name, password)) => {
                    client.get(realm).basic_auth(name, Some(password))
                }
                _ => client.get(realm),
            }
        }
    };
    let response = request.send().await.map_err(|why| Error::of_request(image, &why))?;
    let status = response.status();
    if status.is_client_error() && status.as_u16() != 429 {
        return Err(refuse(&format!("its token service answers {status}")));
    }
    if !status.is_success() {
        return Err(Error::of_status(image, status, b"", None));
    }
    let bytes = body(response, LARGEST).await.map_err(|error| error.of(image))?;
    let reply: Reply =
        serde_json::from_slice(&bytes).map_err(|_| refuse("its token service gives no token"))?;
    reply.token.or(reply.access_token).ok_or_else(|| refuse("its token service gives no token"))
}
