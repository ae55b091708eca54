//! Vega's control plane: it gives an address for each NAR, takes the words of each path, and signs them with the
//! tenant's key.

mod credential;
pub mod device;
mod presigned;

use std::{path::Path, sync::OnceLock};

use harmonia_store_core::{signature::PublicKey, store_path::StoreDir};
use harmonia_utils_hash::Sha256;
use reqwest::{Client, RequestBuilder, Response, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;

pub use self::{
    credential::{Credential, CredentialError, Login, checked, login_path},
    presigned::Presigned,
};
use super::{
    Error, PathInfo,
    narinfo::{self, File},
    place::http,
    retry::patiently,
};

pub const CONTROL_PLANE: &str = "https://vega-cache.dev";

/// The control plane, for one tenant.
pub struct Vega {
    pub client: Client,
    base: String,
    credential: Credential,
    /// As the control plane calls it, when it has said so.
    substituter: OnceLock<String>,
}

impl Vega {
    /// Nothing is asked yet.
    pub fn new(given: Option<&str>, login: Option<&Path>) -> Result<Self, Error> {
        let (credential, base) = Credential::find(given, login)?;
        Ok(Self { client: http::client()?, base, credential, substituter: OnceLock::new() })
    }

    /// Where the tenant's paths are had from.
    pub fn substituter(&self) -> String {
        let path = self.substituter.get().cloned();
        format!("{}{}", self.base, path.unwrap_or_else(|| format!("/tenant/{}", self.credential.tenant())))
    }

    /// An address that takes this file, and nothing else, for a while.
    pub async fn upload_url(&self, name: &str, hash: &Sha256) -> Result<Presigned, Error> {
        #[derive(Deserialize)]
        struct Answer {
            url: Url,
        }
        let body = json!({ "narUrl": name, "fileHash": narinfo::shown(hash) });
        let Answer { url } = self.call("/api/cache/upload-url", &body).await?;
        Ok(Presigned(url))
    }

    /// Have a path published, whose NAR is there.
    pub async fn push(&self, info: &PathInfo, file: &File, store: &StoreDir) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Answer {
            published: bool,
            substituter: Option<String>,
        }
        let answer: Answer = self.call("/api/cache/push", &words(info, file, store)).await?;
        if !answer.published {
            return Err(Error::Unpublished { path: store.display(&info.path).to_string() });
        }
        if let Some(path) = answer.substituter.filter(|path| is_path(path)) {
            let _ = self.substituter.set(path);
        }
        Ok(())
    }

    /// The key that the tenant's paths are signed with.
    pub async fn public_key(&self) -> Option<String> {
        public_key_of(&self.substituter()).await
    }

    async fn call<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Error> {
        let url: Url = format!("{}{path}", self.base).parse().expect("it was checked");
        let once = |anew| {
            let url = &url;
            async move {
                let bearer = self.credential.bearer(&self.client, &self.base, anew).await?;
                answered(url, posted(&self.client, url, body).bearer_auth(&*bearer)).await
            }
        };
        match patiently(|| once(false)).await {
            // An identity lapses in the middle of a long push: one more, and no more.
            Err(Error::Refused { status: StatusCode::UNAUTHORIZED, .. }) => once(true).await,
            other => other,
        }
    }
}

/// The key that the paths of a namespace are signed with.
pub async fn public_key_of(substituter: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        public_key: String,
    }
    let url: Url = format!("{substituter}/key").parse().ok()?;
    let client = http::client().ok()?;
    let asked = || answered::<Answer>(&url, client.get(url.clone()).timeout(http::PATIENCE));
    let Answer { public_key } = patiently(asked).await.ok()?;
    // It is printed, and pasted into nix.conf.
    public_key.parse::<PublicKey>().ok().map(|key| key.to_string())
}

/// What a narinfo says, as the control plane takes it.
fn words(info: &PathInfo, file: &File, store: &StoreDir) -> Value {
    let mut words = json!({
        "storePath": store.display(&info.path).to_string(),
        "url": file.url,
        "compression": file.compression.name(),
        "fileHash": narinfo::shown(&file.hash),
        "fileSize": file.size,
        "narHash": narinfo::shown(&info.nar_hash),
        "narSize": info.nar_size,
        "references": info.references.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    if let Some(deriver) = &info.deriver {
        words["deriver"] = deriver.to_string().into();
    }
    words
}

/// Whether it is a path at the control plane, and not somebody else's address.
fn is_path(path: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '/' | '-');
    path.starts_with('/') && !path.starts_with("//") && path.chars().all(is_plain)
}

fn posted(client: &Client, url: &Url, body: &Value) -> RequestBuilder {
    let request = client.post(url.clone()).header(CONTENT_TYPE, "application/json");
    request.body(body.to_string()).timeout(http::PATIENCE)
}

async fn answered<T: DeserializeOwned>(url: &Url, request: RequestBuilder) -> Result<T, Error> {
    let response = request.send().await.map_err(|why| http::failed(url, &why))?;
    if !response.status().is_success() {
        return Err(refused(url, response).await);
    }
    let bytes = response.bytes().await.map_err(|why| http::failed(url, &why))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::NotUnderstood { url: http::shown(url) })
}

/// The reason alone is shown: what else an answer has may quote the request's own credential.
async fn refused(url: &Url, response: Response) -> Error {
    #[derive(Deserialize)]
    struct Reason {
        error: String,
    }
    let (status, wait) = (response.status(), http::wait(&response));
    let bytes = response.bytes().await.unwrap_or_default();
    let reason = serde_json::from_slice(&bytes).ok().map(|reason: Reason| reason.error);
    Error::Refused { url: http::shown(url), status, said: http::said(&reason.unwrap_or_default()), wait }
}

#[cfg(test)]
mod tests {
    use super::is_path;

    #[test]
    fn a_substituter_is_a_path_of_the_control_planes_own() {
        for path in ["/tenant/octo-org/big.repo", "/tenant/owner:583231", "/u/a_b-c"] {
            assert!(is_path(path), "{path}");
        }
        for path in ["//evil.example/x", "https://evil.example", "/a\nsandbox = false", "", "/a b"] {
            assert!(!is_path(path), "{path:?}");
        }
    }
}
