use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use zeroize::Zeroizing;

/// What the host authenticates with at GitHub. It stays on the host: no container ever sees it.
///
/// No `Debug`, no `Display`; wiped when dropped.
pub struct Credential {
    token: Zeroizing<String>,
    /// For errors: which place it came from.
    pub origin: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error(
        "no GitHub token is at hand: type `gh auth login`, or set GH_TOKEN, or name a file with --token-file{sudo}"
    )]
    None { sudo: &'static str },
    #[error("the token file {} cannot be read: {why}; check its path, owner and mode", .path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("the token file {} is readable by others; type `chmod 0600 {}`", .path.display(), .path.display())]
    Exposed { path: PathBuf },
    #[error("the GitHub App's private key {} cannot be used: {why}; it is the PEM file that GitHub gave you", .path.display())]
    AppKey { path: PathBuf, why: String },
    #[error("{origin} holds no GitHub token: it is empty or has characters that no token has")]
    Malformed { origin: String },
}

impl Credential {
    /// From the token file when one is named, else `GH_TOKEN`, `GITHUB_TOKEN`, or the login of `gh`. A GitHub
    /// Enterprise Server has variables of its own, as `gh` has them, which come first.
    pub fn find(token_file: Option<&Path>, host: &str) -> Result<Self, CredentialError> {
        if let Some(path) = token_file {
            return Self::from_file(path);
        }
        let enterprise = ["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"];
        let variables = if host == "github.com" { [].as_slice() } else { &enterprise };
        for variable in variables.iter().chain(&["GH_TOKEN", "GITHUB_TOKEN"]) {
            if let Ok(token) = env::var(variable)
                && !token.is_empty()
            {
                return Self::checked(&Zeroizing::new(token), (*variable).to_owned());
            }
        }
        let login = Command::new("gh")
            .args(["auth", "token", "--hostname", host])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        match login {
            Ok(output) if output.status.success() => {
                let token = Zeroizing::new(String::from_utf8_lossy(&output.stdout).into_owned());
                drop(Zeroizing::new(output.stdout));
                Self::checked(&token, "`gh auth token`".to_owned())
            }
            _ => Err(CredentialError::None { sudo: sudo_hint() }),
        }
    }

    /// A token that is in memory already; `origin` says where it came from.
    pub fn from_text(text: &str, origin: &str) -> Result<Self, CredentialError> {
        Self::checked(&Zeroizing::new(text.to_owned()), origin.to_owned())
    }

    fn from_file(path: &Path) -> Result<Self, CredentialError> {
        Self::checked(&read_secret(path)?, format!("the token file {}", path.display()))
    }

    fn checked(token: &Zeroizing<String>, origin: String) -> Result<Self, CredentialError> {
        let trimmed = Zeroizing::new(token.trim().to_owned());
        if trimmed.is_empty() || !trimmed.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialError::Malformed { origin });
        }
        Ok(Self { token: trimmed, origin })
    }

    pub(super) fn expose(&self) -> &str {
        &self.token
    }
}

/// A file that only its owner can read.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, CredentialError> {
    use std::os::unix::fs::PermissionsExt as _;
    let unreadable = |why| CredentialError::Unreadable { path: path.to_owned(), why };
    let mode = path.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(CredentialError::Exposed { path: path.to_owned() });
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(unreadable)
}

/// Root has not the login of the person who typed sudo.
fn sudo_hint() -> &'static str {
    match env::var_os("SUDO_USER") {
        Some(user) if user != "root" => {
            "; under sudo your own login is not seen: type `gh auth token | sudo vega-builder … --token-file /dev/stdin`"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::Credential;

    fn refusal(text: &str, mode: u32) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        Credential::find(Some(file.path()), "github.com").err().unwrap().to_string()
    }

    #[test]
    fn a_token_file_that_others_can_read_is_refused_with_the_chmod_to_type() {
        assert!(refusal("ghp_x", 0o644).contains("`chmod 0600 "));
    }

    #[test]
    fn an_empty_or_broken_token_file_is_refused_without_showing_it() {
        assert!(refusal("\n", 0o600).contains("holds no GitHub token"));
        assert!(!refusal("secret with spaces", 0o600).contains("secret"));
    }

    #[test]
    fn a_missing_token_file_is_named() {
        let error = Credential::find(Some("/nonexistent/token".as_ref()), "github.com").err().unwrap();
        assert!(error.to_string().contains("/nonexistent/token cannot be read"));
    }
}
