//! The saved registration: made once from a short-lived token, used again at every later start.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use zeroize::Zeroizing;

use super::{Environment, Mask, children, leftovers::kill_leftovers, user};
use crate::{contract, value::RegistrationToken};

/// For whom the saved registration is; root's file, so no job changes it.
const IDENTITY: &str = ".vega-identity.json";
/// What the runner's configure step writes.
const SAVED: [&str; 3] = [".runner", ".credentials", ".credentials_rsaparams"];

#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    #[error("{}: {why}", .path.display())]
    File { path: PathBuf, why: io::Error },
    #[error("the token file {} holds no registration token", .0.display())]
    NoToken(PathBuf),
    #[error("the runner could not be configured: {0}")]
    Refused(String),
}

/// Another one of these needs another registration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Identity {
    url: String,
    name: String,
    labels: String,
    ephemeral: bool,
}

/// The registration in the runner's root, a volume.
pub struct Registration<'a> {
    environment: &'a Environment,
    /// Where GitHub's runner lies.
    runner: &'a Path,
}

impl<'a> Registration<'a> {
    pub fn new(environment: &'a Environment, runner: &'a Path) -> Self {
        Self { environment, runner }
    }

    /// Make the root ready: the runner writes there, but what decides how jobs start is root's, written anew
    /// at every boot, and cannot be replaced (the sticky bit) by a job of the runner's user.
    pub fn prepare(&self) -> Result<(), RegistrationError> {
        let root = &self.environment.runner_root;
        let path = std::env::var("PATH").unwrap_or_default();
        let prepare = || -> io::Result<()> {
            fs::create_dir_all(root)?;
            chown(root, Some(0), Some(contract::RUNNER_UID))?;
            fs::set_permissions(root, fs::Permissions::from_mode(0o1775))?;
            for folder in ["_work", "_diag"] {
                let folder = root.join(folder);
                if folder.symlink_metadata().is_err() {
                    fs::create_dir(&folder)?;
                }
                std::os::unix::fs::lchown(&folder, Some(contract::RUNNER_UID), Some(contract::RUNNER_UID))?;
            }
            replace(&root.join(".env"), "NIX_REMOTE=daemon\nLANG=C.UTF-8\n")?;
            replace(&root.join(".path"), &path)
        };
        prepare().map_err(|why| RegistrationError::File { path: root.clone(), why })
    }

    fn identity(&self) -> Identity {
        let environment = self.environment;
        Identity {
            url: self.url(),
            name: environment.name.to_string(),
            labels: environment.labels.to_string(),
            ephemeral: environment.ephemeral,
        }
    }

    fn url(&self) -> String {
        let server = self.environment.server.as_str().trim_end_matches('/');
        format!("{server}/{}", self.environment.repository)
    }

    /// Whether a registration for this very identity is saved.
    pub fn is_saved(&self) -> bool {
        let root = &self.environment.runner_root;
        let saved = fs::read(root.join(IDENTITY)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        saved == Some(self.identity()) && SAVED[..2].iter().all(|name| root.join(name).is_file())
    }

    /// Forget the saved registration: it is another identity's, or GitHub no longer knows it.
    pub fn forget(&self) -> Result<(), RegistrationError> {
        for name in [IDENTITY].iter().chain(&SAVED) {
            let path = self.environment.runner_root.join(name);
            match fs::remove_file(&path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => {
                    return Err(RegistrationError::File { path, why });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Take the token out of its file, when there is one: after this it is in our memory alone.
    pub fn take_token(&self) -> Result<Option<RegistrationToken>, RegistrationError> {
        let Some(path) = &self.environment.token_file else { return Ok(None) };
        // A secret that came as a variable was taken from its memory at the start.
        if path.starts_with("/proc") {
            return Ok(None);
        }
        let text = take(path).map_err(|why| RegistrationError::File { path: path.clone(), why })?;
        let Some(text) = text else { return Ok(None) };
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RegistrationError::NoToken(path.clone()));
        }
        Ok(Some(RegistrationToken::new(token)))
    }

    /// A token that came with a restart is not needed, and must not be there when a job runs.
    pub fn discard_token(&self) {
        if let Some(path) = &self.environment.token_file {
            let _ = discard(path);
        }
    }

    /// Register with GitHub. The token is in the environment of the configure process alone, which has ended
    /// when this returns; no job runs beside it.
    pub fn configure(&self, token: &RegistrationToken, mask: &Mask) -> Result<(), RegistrationError> {
        // What an earlier job left running would be of the same user as the process that gets the token.
        kill_leftovers(0);
        self.forget()?;
        let environment = self.environment;
        let mut command = user::as_runner(self.runner.join("bin/Runner.Listener"));
        command
            .args(["configure", "--unattended", "--replace", "--disableupdate", "--work", "_work"])
            .args(["--url", &self.url()])
            .args(["--name", environment.name.as_str()])
            .args(["--labels", &environment.labels.to_string()])
            .args(environment.ephemeral.then_some("--ephemeral"))
            .env("ACTIONS_RUNNER_INPUT_TOKEN", token.expose())
            .env(contract::env::RUNNER_ROOT, &environment.runner_root)
            .current_dir(&environment.runner_root)
            .stdin(Stdio::null());
        let output = children::output(&mut command)
            .map_err(|why| RegistrationError::File { path: self.runner.to_owned(), why })?;
        let both = [output.stdout, output.stderr].concat();
        let lines: Vec<String> = String::from_utf8_lossy(&both)
            .lines()
            .map(|line| mask.apply(&line.replace(token.expose(), "***")).trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        for line in &lines {
            println!("{line}");
        }
        if !output.status.success() {
            let _ = self.forget();
            let why = lines.last().cloned().unwrap_or_else(|| output.status.to_string());
            return Err(RegistrationError::Refused(why));
        }
        let path = environment.runner_root.join(IDENTITY);
        let text = serde_json::to_string(&self.identity()).unwrap_or_default();
        replace(&path, &text).map_err(|why| RegistrationError::File { path, why })
    }
}

/// The content of a secret's file, which is empty or gone afterwards.
pub(super) fn take(path: &Path) -> io::Result<Option<Zeroizing<String>>> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            discard(path)?;
            Ok(Some(text))
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
    }
}

/// Empty the file, then remove it: where it cannot be removed (an inherited descriptor) its content is gone.
fn discard(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).truncate(true).open(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => drop(other),
    }
    if path.starts_with("/proc") { Ok(()) } else { fs::remove_file(path) }
}

/// Write a file of root's, whole, whatever lay there before (a link that a job made, say).
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let file = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(file.path(), text)?;
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?;
    if path.is_dir() {
        fs::remove_dir_all(path)?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{IDENTITY, Registration, SAVED};
    use crate::runner::Environment;

    fn environment(root: &Path, name: &str) -> Environment {
        Environment::read(|variable| match variable {
            "GITHUB_OWNER" => Some("octo".to_owned()),
            "GITHUB_REPOSITORY" => Some("heavy".to_owned()),
            "GITHUB_RUNNER_NAME" => Some(name.to_owned()),
            "RUNNER_ROOT" => Some(root.display().to_string()),
            "GITHUB_RUNNER_TOKEN_FILE" => Some(root.join("token").display().to_string()),
            _ => None,
        })
        .unwrap()
    }

    #[test]
    fn a_registration_serves_its_own_identity_only() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (environment(root.path(), "one"), environment(root.path(), "other"));
        let registration = Registration::new(&one, Path::new("/nonexistent"));
        assert!(!registration.is_saved());
        for name in SAVED {
            fs::write(root.path().join(name), "{}").unwrap();
        }
        fs::write(root.path().join(IDENTITY), serde_json::to_string(&registration.identity()).unwrap())
            .unwrap();
        assert!(registration.is_saved());
        assert!(!Registration::new(&other, Path::new("/nonexistent")).is_saved());
        registration.forget().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_token_is_gone_from_its_file_when_it_is_taken_even_a_bad_one() {
        let root = tempfile::tempdir().unwrap();
        let environment = environment(root.path(), "one");
        let registration = Registration::new(&environment, Path::new("/nonexistent"));
        assert!(registration.take_token().unwrap().is_none());
        for (text, good) in [("AABBCC\n", true), ("", false), ("two words", false)] {
            fs::write(root.path().join("token"), text).unwrap();
            assert_eq!(registration.take_token().is_ok_and(|token| token.is_some()), good, "{text:?}");
            assert!(!root.path().join("token").exists());
        }
    }
}
