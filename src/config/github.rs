//! Where GitHub is, and who asks it.

use std::path::PathBuf;

use url::Url;

use super::{
    args::{CredentialArgs, FileArgs},
    layer::{Error, Layers, Origin},
    settings::{lasting, layers, path},
};
use crate::value::is_loopback;

#[derive(Debug, Clone)]
pub struct GitHubSettings {
    /// `https://github.com`, or the address of a GitHub Enterprise Server.
    pub server: Url,
    pub token_file: Option<PathBuf>,
    /// A GitHub App in the place of a token.
    pub app: Option<AppSettings>,
}

/// A GitHub App, by its id, and where its private key is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AppSettings {
    pub id: String,
    pub key_file: PathBuf,
}

impl CredentialArgs {
    /// The token's file, when the flag, the variable or the configuration file names one.
    pub fn token_file(&self) -> Result<Option<PathBuf>, Error> {
        Ok(path(&layers(self.layer(), &FileArgs::default())?, "github.token-file"))
    }
}

pub(super) fn github_of(layers: &Layers) -> Result<GitHubSettings, Error> {
    let app = match (layers.get("github.app-id"), lasting(layers, "github.app-key-file")) {
        (Some(id), Some(key_file)) => Some(AppSettings { id: id.text.clone(), key_file }),
        (Some(id), None) => {
            return Err(Error::value(
                &id.origin,
                "an App is nobody without its key; give --app-key-file too",
            ));
        }
        (None, Some(_)) => {
            let key = layers
                .get("github.app-key-file")
                .map_or_else(|| Origin::Flag("--app-key-file"), |key| key.origin.clone());
            return Err(Error::value(&key, "whose key it is must be said too; give --app-id"));
        }
        (None, None) => None,
    };
    let token_file = path(layers, "github.token-file");
    if let (Some(_), Some(_), Some(token)) = (&app, &token_file, layers.get("github.token-file")) {
        return Err(Error::value(
            &token.origin,
            "a token file and a GitHub App are given; leave one of them out",
        ));
    }
    Ok(GitHubSettings { server: server(layers)?, token_file, app })
}

fn server(layers: &Layers) -> Result<Url, Error> {
    let given = layers.get("github.url");
    let origin = given.map_or_else(|| Origin::Default(String::new()), |given| given.origin.clone());
    let text = given.map_or("https://github.com", |given| given.text.as_str());
    let url = Url::parse(text)
        .map_err(|why| Error::value(&origin, format!("'{text}' is not an address: {why}")))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(Error::value(&origin, format!("'{text}': a token is sent over https only"))),
    }
}
