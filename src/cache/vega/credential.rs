//! What Vega knows us by: in a job the identity that GitHub gives it, elsewhere what `login` keeps.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

use super::CONTROL_PLANE;
use crate::cache::{Error, place::http};

#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("this machine is not known to Vega: type `vega-builder login`")]
    None,
    #[error("the login at Vega lapsed on {0}: type `vega-builder login`")]
    Lapsed(String),
    #[error("{}: {why}; type `vega-builder login` for a new one", .path.display())]
    File { path: PathBuf, why: String },
    #[error("others can read {}: type `chmod 0600 {}`", .path.display(), .path.display())]
    Open { path: PathBuf },
    #[error(
        "this job has no identity to show to Vega: its workflow needs `permissions:` with `id-token: write`"
    )]
    NoIdentity,
    #[error("{0} is no control plane: give an https:// address")]
    Address(String),
    #[error("there is no home folder (HOME) to keep a login in")]
    NoHome,
}

/// How we show who pushes.
pub enum Credential {
    Job(Job),
    Owner(Login),
}

/// An identity of a job, which GitHub signs anew for every few minutes.
pub struct Job {
    url: Url,
    token: Zeroizing<String>,
    repository: String,
    minted: Mutex<Option<(Zeroizing<String>, Instant)>>,
}

/// What `login` keeps, in the form and the place that Vega's own command line has for it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    pub credential: Zeroizing<String>,
    /// The account at GitHub.
    pub login: String,
    pub user_id: String,
    /// In milliseconds since 1970; 0 when nothing is known of an end.
    #[serde(default)]
    pub expires_at: i64,
    /// The control plane that it is for.
    pub url: String,
}

/// GitHub's identities live for some minutes more.
const FRESH: Duration = Duration::from_secs(240);

impl Credential {
    /// Who we are here, and the control plane that is meant: the one that is given, else that of the login, else Vega's.
    /// A login's file that is named goes before everything else.
    pub fn find(given: Option<&str>, login: Option<&Path>) -> Result<(Self, String), CredentialError> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let given = given.map(str::to_owned).or_else(|| variable("VEGA_URL"));
        given.as_deref().map(checked).transpose()?;
        if let (None, Some(url), Some(token)) =
            (login, variable("ACTIONS_ID_TOKEN_REQUEST_URL"), variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
        {
            let url = url.parse().map_err(|_| CredentialError::NoIdentity)?;
            let repository = variable("GITHUB_REPOSITORY").ok_or(CredentialError::NoIdentity)?;
            let job = Job { url, token: Zeroizing::new(token), repository, minted: Mutex::default() };
            let base = checked(given.as_deref().unwrap_or(CONTROL_PLANE))?;
            return Ok((Self::Job(job), base));
        }
        let path = login.map_or_else(login_path, |login| Ok(login.to_owned()))?;
        if variable("GITHUB_ACTIONS").is_some() && !path.exists() {
            return Err(CredentialError::NoIdentity);
        }
        let login = Login::read(&path)?;
        let base = checked(&login.url)?;
        // A login of one control plane is no other's business.
        if let Some(given) = given
            && checked(&given)? != base
        {
            return Err(CredentialError::None);
        }
        Ok((Self::Owner(login), base))
    }

    /// The namespace that is pushed to.
    pub fn tenant(&self) -> String {
        match self {
            Self::Job(job) => job.repository.clone(),
            Self::Owner(login) => format!("owner:{}", login.user_id),
        }
    }

    /// What goes into a request; `anew` after one that was refused.
    pub async fn bearer(&self, client: &Client, base: &str, anew: bool) -> Result<Zeroizing<String>, Error> {
        match self {
            Self::Owner(login) => Ok(login.credential.clone()),
            Self::Job(job) => job.identity(client, base, anew).await,
        }
    }
}

impl Job {
    async fn identity(&self, client: &Client, base: &str, anew: bool) -> Result<Zeroizing<String>, Error> {
        #[derive(Deserialize)]
        struct Minted {
            value: Zeroizing<String>,
        }
        let mut minted = self.minted.lock().await;
        if let Some((token, at)) = minted.as_ref().filter(|_| !anew)
            && at.elapsed() < FRESH
        {
            return Ok(token.clone());
        }
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("audience", base);
        let request = client.get(url.clone()).bearer_auth(&*self.token).timeout(http::PATIENCE);
        let answer: Minted = super::answered(&url, request).await?;
        *minted = Some((answer.value.clone(), Instant::now()));
        Ok(answer.value)
    }
}

impl Login {
    pub fn read(path: &Path) -> Result<Self, CredentialError> {
        let failed = |why: String| CredentialError::File { path: path.to_owned(), why };
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Err(CredentialError::None),
            Err(why) => return Err(failed(why.to_string())),
        };
        let metadata = fs::metadata(path).map_err(|why| failed(why.to_string()))?;
        if metadata.mode() & 0o077 != 0 {
            return Err(CredentialError::Open { path: path.to_owned() });
        }
        // What is wrong with it may quote it.
        let login: Self = serde_json::from_str(&text).map_err(|_| failed("it is no login".to_owned()))?;
        let ends = Timestamp::from_millisecond(login.expires_at).unwrap_or(Timestamp::MAX);
        if login.expires_at > 0 && ends < Timestamp::now() {
            return Err(CredentialError::Lapsed(ends.strftime("%Y-%m-%d").to_string()));
        }
        Ok(login)
    }

    /// Keep it where nobody else reads, in the place of an earlier one.
    pub fn keep(&self, path: &Path) -> Result<(), CredentialError> {
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(Path::new("/"));
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let mut beside = tempfile::Builder::new()
                .permissions(fs::Permissions::from_mode(0o600))
                .tempfile_in(folder)?;
            let text = Zeroizing::new(serde_json::to_string_pretty(self)?);
            writeln!(beside, "{}", *text)?;
            beside.as_file().sync_all()?;
            beside.persist(path).map_err(|error| error.error).map(drop)
        };
        write().map_err(|why| CredentialError::File { path: path.to_owned(), why: why.to_string() })
    }
}

/// Where Vega's own command line keeps it, too.
pub fn login_path() -> Result<PathBuf, CredentialError> {
    let home = env::home_dir().filter(|home| home.is_absolute()).ok_or(CredentialError::NoHome)?;
    Ok(home.join(".config/vega/credential"))
}

/// An address that a credential may be sent to, without what only its path has to say.
pub fn checked(given: &str) -> Result<String, CredentialError> {
    let refused = || CredentialError::Address(given.to_owned());
    let url = Url::parse(given).map_err(|_| refused())?;
    let is_fine = url.scheme() == "https" || (url.scheme() == "http" && crate::value::is_loopback(&url));
    if !is_fine || !url.username().is_empty() || url.password().is_some() {
        return Err(refused());
    }
    Ok(format!("{}{}", url.origin().ascii_serialization(), url.path()).trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{CredentialError, Login, checked};

    #[test]
    fn a_login_is_kept_for_its_owner_alone_and_lapses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vega/credential");
        assert!(matches!(Login::read(&path), Err(CredentialError::None)));
        let mut login = Login {
            credential: "secret".to_owned().into(),
            login: "octocat".into(),
            user_id: "583231".into(),
            expires_at: 4_102_444_800_000,
            url: "https://vega.example".into(),
        };
        login.keep(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Login::read(&path).unwrap().user_id, "583231");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Login::read(&path), Err(CredentialError::Open { .. })));
        login.expires_at = 1_000_000_000_000;
        login.keep(&path).unwrap();
        assert!(Login::read(&path).err().unwrap().to_string().contains("lapsed on 2001-09-09"));
        fs::write(&path, "secret").unwrap();
        let error = Login::read(&path).err().unwrap().to_string();
        assert!(!error.contains("secret") && error.contains("vega-builder login"), "{error}");
    }

    #[test]
    fn a_credential_goes_over_https_alone() {
        assert_eq!(checked("https://vega-cache.dev/").unwrap(), "https://vega-cache.dev");
        assert_eq!(checked("http://127.0.0.1:8080/x?y#z").unwrap(), "http://127.0.0.1:8080/x");
        for given in ["http://vega-cache.dev", "ftp://x", "vega-cache.dev", "https://a:b@x"] {
            assert!(checked(given).is_err(), "{given}");
        }
    }
}
