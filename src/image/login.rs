//! What the person logged in with, from the standard places of podman and docker (containers-auth.json(5)).

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use serde_json::Value;

use super::{Error, ImageReference};

/// A registry's login and where it was found. It has no Debug: it is a secret.
pub struct Login {
    pub credential: DockerCredential,
    pub file: PathBuf,
}

impl Login {
    /// The login for `image`, from the first file that has one. A credential helper is asked, and waited for.
    pub fn find(image: &ImageReference) -> Result<Option<Self>, Error> {
        for file in places() {
            if let Some(credential) = read(&file, image)? {
                return Ok(Some(Self { credential, file }));
            }
        }
        Ok(None)
    }
}

/// The files that exist, in the order in which podman asks them; docker's own is the last.
fn places() -> Vec<PathBuf> {
    if let Some(file) = env::var_os("REGISTRY_AUTH_FILE").filter(|file| !file.is_empty()) {
        return vec![file.into()];
    }
    let folder = |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = folder("HOME").unwrap_or_else(|| PathBuf::from("/root"));
    let runtime = folder("XDG_RUNTIME_DIR").map_or_else(
        || format!("/run/containers/{}", nix::unistd::getuid()).into(),
        |path| path.join("containers"),
    );
    let config = folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("containers");
    let docker = folder("DOCKER_CONFIG").unwrap_or_else(|| home.join(".docker"));
    let files = [runtime.join("auth.json"), config.join("auth.json"), docker.join("config.json")];
    files.into_iter().filter(|file| file.exists()).collect()
}

fn read(file: &Path, image: &ImageReference) -> Result<Option<DockerCredential>, Error> {
    let refuse =
        |why: String| Error::Login { file: file.to_owned(), registry: image.registry().to_owned(), why };
    let text = fs::read(file).map_err(|why| refuse(why.to_string()))?;
    let known: Value = serde_json::from_slice(&text).map_err(|why| refuse(format!("not JSON: {why}")))?;
    // A login for a part of a registry is closer than one for the whole (containers-auth.json(5), "FORMAT").
    let own = image.name();
    let mut key = own.as_str();
    while let Some((shorter, _)) = key.rsplit_once('/') {
        if known["auths"][key]["auth"].is_string() {
            break;
        }
        key = shorter;
    }
    let key = if key.contains('/') { key } else { image.registry() };
    // Helpers know Docker Hub by the address of its first version.
    let hub = || get_credential_from_reader(text.as_slice(), "https://index.docker.io/v1/");
    let found = match get_credential_from_reader(text.as_slice(), key) {
        Err(_) if key == "index.docker.io" => hub(),
        found => found,
    };
    match found {
        Ok(credential) => Ok(Some(credential)),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        // A keychain without an entry: the helper says so in words, and fails. Its output may hold a secret.
        Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains("not found") => {
            Ok(None)
        }
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            Err(refuse(format!("{helper} failed")))
        }
        Err(why) => Err(refuse(why.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use docker_credential::DockerCredential;

    use super::read;

    fn login(json: &str, image: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.json");
        fs::write(&file, json).unwrap();
        match read(&file, &image.parse().unwrap()).ok()?? {
            DockerCredential::UsernamePassword(name, password) => Some(format!("{name}:{password}")),
            DockerCredential::IdentityToken(token) => Some(token),
        }
    }

    #[test]
    fn the_closest_login_wins() {
        // a:1, b:2, c:3
        let json = r#"{"auths": {"ghcr.io": {"auth": "YToxCg=="}, "ghcr.io/octo": {"auth": "YjoyCg=="},
            "ghcr.io/octo/image": {"auth": "Yzoz"}, "https://quay.io/v1/": {"auth": "YToxCg=="}}}"#;
        let login = |image| login(json, image).map(|text| text.trim().to_owned());
        assert_eq!(login("ghcr.io/octo/image:v1").as_deref(), Some("c:3"));
        assert_eq!(login("ghcr.io/octo/other").as_deref(), Some("b:2"));
        assert_eq!(login("ghcr.io/octopus/image").as_deref(), Some("a:1"));
        assert_eq!(login("quay.io/x/y").as_deref(), Some("a:1"));
        assert_eq!(login("example.org/x/y"), None);
    }

    #[test]
    fn docker_hub_is_found_under_its_old_name() {
        let json = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "YTox"}}}"#;
        assert_eq!(login(json, "docker.io/octo/image").as_deref(), Some("a:1"));
    }

    #[test]
    fn an_identity_token_is_taken() {
        let json = r#"{"auths": {"example.azurecr.io": {"auth": "YTo=", "identitytoken": "secret"}}}"#;
        assert_eq!(login(json, "example.azurecr.io/a").as_deref(), Some("secret"));
    }
}
