//! A GitHub App in the place of a person: its private key signs a request for a token of an hour, for one repository (or
//! for the organisation that it is installed in) and
//! the few rights that a runner's owner needs. The key stays in its file on the host.

use std::path::Path;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use super::{Credential, CredentialError, Error, GitHub, Operation, credential::read_secret};
use crate::value::Scope;

#[derive(serde::Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

#[derive(serde::Deserialize)]
struct Installation {
    id: u64,
}

#[derive(serde::Deserialize)]
struct Minted {
    token: String,
}

/// GitHub takes ten minutes at most, and clocks differ.
const LIFE: i64 = 9 * 60;
const SLACK: i64 = 60;

impl Credential {
    /// Whether the App is installed there, and its key is still taken.
    pub async fn expect_app(id: &str, key: &Path, server: &Url, scope: &Scope) -> Result<(), Error> {
        installation(&GitHub::new(server, scope, &assertion(id, key)?)?).await.map(drop)
    }

    /// A credential of an hour for one scope, from an App (its client id, or its older number) and the file with
    /// its private key.
    ///
    /// Source: `GET /repos/{owner}/{repo}/installation` or `GET /orgs/{org}/installation`, `POST /app/installations/{id}/access_tokens`.
    pub async fn of_app(id: &str, key: &Path, server: &Url, scope: &Scope) -> Result<Self, Error> {
        let github = GitHub::new(server, scope, &assertion(id, key)?)?;
        let installation = installation(&github).await?;
        let operation = Operation::MintAccessToken;
        // Runners and settings; and the workflows that could reach a runner.
        let asked = match scope {
            Scope::Repository(repository) => json!({
                "repositories": [repository.name()],
                "permissions": { "administration": "write", "contents": "read", "metadata": "read" },
            }),
            Scope::Organization(_) => json!({
                "permissions": {
                    "organization_self_hosted_runners": "write",
                    "administration": "read",
                    "contents": "read",
                    "metadata": "read",
                },
            }),
        };
        let route = format!("/app/installations/{}/access_tokens", installation.id);
        let reply = github.post_body(operation, &route, &asked).await?;
        let minted: Minted = github.parsed(operation, &reply)?;
        let token = Zeroizing::new(minted.token);
        Ok(Self::from_text(&token, &format!("the GitHub App {id}"))?)
    }
}

async fn installation(github: &GitHub) -> Result<Installation, Error> {
    let operation = Operation::FindInstallation;
    let reply = github.read(operation, &github.route("/installation")).await?;
    github.parsed(operation, &reply)
}

/// The App's own word for itself, for some minutes.
fn assertion(id: &str, file: &Path) -> Result<Credential, CredentialError> {
    let wrong = |why: jsonwebtoken::errors::Error| CredentialError::AppKey {
        path: file.to_owned(),
        why: why.to_string(),
    };
    let pem = read_secret(file)?;
    let key = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(wrong)?;
    let now = Timestamp::now().as_second();
    let claims = Claims { iat: now - SLACK, exp: now + LIFE, iss: id };
    let token = Zeroizing::new(encode(&Header::new(Algorithm::RS256), &claims, &key).map_err(wrong)?);
    Credential::from_text(&token, &format!("the GitHub App {id} with the key {}", file.display()))
}
