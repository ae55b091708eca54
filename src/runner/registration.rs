//! The saved registration: made once from a short-lived token, used again at every later start.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use super::{
    Environment, JitConfig, Mask, Program, Vault, children,
    leftovers::{Survivors, end_all},
    report::say_line,
    tidy, token, user,
};
use crate::{contract, value::RegistrationToken};

/// For whom the saved registration is; beside the kept files.
const IDENTITY: &str = "identity.json";
/// Where versions before this one kept it: in the runner's root, root's already.
const OLD_IDENTITY: &str = ".vega-identity.json";
/// A configure step that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    #[error("{}: {why}", .path.display())]
    File { path: PathBuf, why: io::Error },
    #[error("the runner could not be configured: {0}")]
    Refused(String),
    #[error(transparent)]
    Survivors(#[from] Survivors),
}

/// Another one of these needs another registration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Identity {
    url: String,
    name: String,
    labels: String,
    ephemeral: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

/// The registration in the runner's root, a volume.
pub struct Registration<'a> {
    environment: &'a Environment,
    program: &'a Program,
    vault: Vault,
}

impl<'a> Registration<'a> {
    pub fn new(environment: &'a Environment, program: &'a Program) -> Self {
        Self { environment, program, vault: Vault::new(&environment.quarters) }
    }

    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    fn failed(&self) -> impl Fn(io::Error) -> RegistrationError {
        let path = self.environment.quarters.root.clone();
        move |why| RegistrationError::File { path: path.clone(), why }
    }

    /// Make the root ready, and take a registration of an older version into keeping.
    pub fn prepare(&self) -> Result<(), RegistrationError> {
        self.vault.prepare().map_err(self.failed())?;
        if !self.vault.holds() {
            self.adopt().map_err(self.failed())?;
        }
        let place = Path::new(contract::CONFIGURED_SCOPE);
        let tell = || -> io::Result<()> {
            fs::create_dir_all(place.parent().unwrap_or(place))?;
            fs::write(place, format!("{}\n", self.environment.scope))
        };
        tell().map_err(|why| RegistrationError::File { path: place.to_owned(), why })
    }

    /// What an older version saved lay where jobs could write: it is taken once, for the very repository.
    fn adopt(&self) -> io::Result<()> {
        let root = &self.environment.quarters.root;
        let (old, settings) = (root.join(OLD_IDENTITY), root.join(".runner"));
        let Ok(identity) = fs::read_to_string(&old) else { return Ok(()) };
        let settings: Value = fs::read(&settings)
            .ok()
            // The real one begins its file with a byte order mark.
            .and_then(|text| serde_json::from_slice(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text)).ok())
            .unwrap_or_default();
        let ours = |url: &str| url.trim_end_matches('/').eq_ignore_ascii_case(&self.url());
        if settings["gitHubUrl"].as_str().is_some_and(ours) && self.vault.keep(root).is_ok() {
            self.vault.write_note(IDENTITY, &identity)?;
        }
        tidy::remove(&old)
    }

    fn identity(&self) -> Identity {
        let environment = self.environment;
        Identity {
            url: self.url(),
            name: environment.name.to_string(),
            labels: environment.labels.to_string(),
            ephemeral: environment.ephemeral,
            group: environment.group.clone(),
        }
    }

    fn url(&self) -> String {
        let server = self.environment.server.as_str().trim_end_matches('/');
        format!("{server}/{}", self.environment.scope)
    }

    /// Whether a registration for this very identity is saved, where no job can write.
    pub fn is_saved(&self) -> bool {
        let saved = self.vault.note(IDENTITY).and_then(|text| serde_json::from_str(&text).ok());
        saved == Some(self.identity()) && self.vault.holds()
    }

    /// Lay the saved files out for a listener, and what every job starts with.
    pub fn lay_out(&self) -> Result<(), RegistrationError> {
        let path = std::env::var("PATH").unwrap_or_default();
        self.vault.lay_out("NIX_REMOTE=daemon\nLANG=C.UTF-8\n", &path).map_err(self.failed())
    }

    /// Forget the saved registration: it is another identity's, or GitHub no longer knows it.
    pub fn forget(&self) -> Result<(), RegistrationError> {
        // First what makes it one: a crash in between leaves no registration that is half there.
        self.vault.remove_note(IDENTITY).and_then(|()| self.vault.forget()).map_err(self.failed())
    }

    /// A token that came with a restart is not needed, and must not be there when a job runs.
    pub fn discard_token(&self) {
        if let Some(path) = &self.environment.token_file
            && path.exists()
        {
            let _ = token::discard(path);
        }
    }

    /// Take a just-in-time configuration into keeping, in the place of whatever was there: it is a registration already.
    pub fn adopt_jit(&self, jit: &JitConfig) -> Result<(), RegistrationError> {
        self.forget()?;
        let text = serde_json::to_string(&self.identity()).unwrap_or_default();
        let keep = || {
            self.vault.keep_these(jit.files())?;
            self.vault.write_note(IDENTITY, &text)
        };
        keep().map_err(self.failed())
    }

    /// Register with GitHub. The token is in the environment of the configure process alone, which has ended
    /// when this returns; no process of a job is there, before or beside it.
    pub fn configure(&self, token: &RegistrationToken, mask: &Mask) -> Result<(), RegistrationError> {
        mask.learn(token.expose());
        end_all(self.environment.quarters.ids)?;
        self.forget()?;
        let desk = self.vault.desk().map_err(self.failed())?;
        let configured = self.configure_at(&desk, token, mask);
        // It may have been stopped half-way.
        let ended = end_all(self.environment.quarters.ids);
        let kept = configured.and_then(|()| {
            self.vault.keep(&desk).map_err(self.failed())?;
            let text = serde_json::to_string(&self.identity()).unwrap_or_default();
            self.vault.write_note(IDENTITY, &text).map_err(self.failed())
        });
        tidy::remove(&desk).map_err(self.failed())?;
        ended?;
        kept
    }

    fn configure_at(
        &self,
        desk: &Path,
        token: &RegistrationToken,
        mask: &Mask,
    ) -> Result<(), RegistrationError> {
        let environment = self.environment;
        let rooted = self.program.rooted_at(desk).map_err(self.failed())?;
        let mut command = user::as_runner(&environment.quarters, rooted.listener());
        command
            .args(["configure", "--unattended", "--replace", "--disableupdate", "--work", "_work"])
            .args(["--url", &self.url()])
            .args(["--name", environment.name.as_str()])
            .args(["--labels", &environment.labels.to_string()])
            .args(environment.ephemeral.then_some("--ephemeral"))
            .args(environment.group.iter().flat_map(|group| ["--runnergroup", group]))
            .env("ACTIONS_RUNNER_INPUT_TOKEN", token.expose())
            .env("DOTNET_EnableDiagnostics", "0")
            .env(contract::env::RUNNER_ROOT, desk)
            .current_dir(desk)
            .stdin(Stdio::null());
        let output = children::output(&mut command, PATIENCE)
            .map_err(|why| RegistrationError::Refused(why.to_string()))?;
        let both = [output.stdout, output.stderr].concat();
        let lines: Vec<String> = String::from_utf8_lossy(&both)
            .lines()
            .map(|line| mask.apply(line).trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        for line in &lines {
            say_line(line);
        }
        if output.status.success() {
            return Ok(());
        }
        let why = lines.last().cloned().unwrap_or_else(|| output.status.to_string());
        Err(RegistrationError::Refused(why))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{IDENTITY, OLD_IDENTITY, Registration};
    use crate::runner::{Environment, Program, vault::FILES};

    fn environment(root: &Path, name: &str) -> Environment {
        Environment::read(|variable| match variable {
            "GITHUB_OWNER" => Some("octo".to_owned()),
            "GITHUB_REPOSITORY" => Some("heavy".to_owned()),
            "GITHUB_RUNNER_NAME" => Some(name.to_owned()),
            "RUNNER_ROOT" => Some(root.display().to_string()),
            _ => None,
        })
        .unwrap()
    }

    /// As a version without a root-only copy left it.
    fn older(root: &Path, registration: &Registration<'_>, url: &str) {
        for name in FILES {
            fs::write(root.join(name), format!("\u{feff}{{\"gitHubUrl\": \"{url}\"}}")).unwrap();
        }
        let identity = serde_json::to_string(&registration.identity()).unwrap();
        fs::write(root.join(OLD_IDENTITY), identity).unwrap();
    }

    #[test]
    fn a_registration_serves_its_own_identity_only() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (environment(root.path(), "one"), environment(root.path(), "other"));
        let nowhere = Program::in_folder(Path::new("/nonexistent"));
        let registration = Registration::new(&one, &nowhere);
        assert!(!registration.is_saved());
        registration.vault.prepare().unwrap();
        older(root.path(), &registration, "");
        registration.vault.keep(root.path()).unwrap();
        let identity = serde_json::to_string(&registration.identity()).unwrap();
        registration.vault.write_note(IDENTITY, &identity).unwrap();
        assert!(registration.is_saved());
        assert!(!Registration::new(&other, &nowhere).is_saved());
        registration.forget().unwrap();
        assert!(!registration.is_saved());
    }

    #[test]
    fn an_older_versions_registration_is_taken_once_and_only_for_the_very_repository() {
        for (url, taken) in
            [("https://github.com/Octo/heavy", true), ("https://evil.example/octo/heavy", false)]
        {
            let root = tempfile::tempdir().unwrap();
            let environment = environment(root.path(), "one");
            let nowhere = Program::in_folder(Path::new("/nonexistent"));
            let registration = Registration::new(&environment, &nowhere);
            registration.vault.prepare().unwrap();
            older(root.path(), &registration, url);
            registration.adopt().unwrap();
            assert_eq!(registration.is_saved(), taken, "{url}");
            assert!(!root.path().join(OLD_IDENTITY).exists());
        }
    }
}
