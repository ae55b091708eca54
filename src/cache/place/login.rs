//! What a cache is logged in with, from a file that only its owner reads: in the form that such a cache's users have it in
//! already.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use netrc::Netrc;
use url::Url;

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("the cache's login {}: {why}; name a file that is there and that you can read", .path.display())]
    File { path: PathBuf, why: io::Error },
    #[error("others can read the cache's login: type `chmod 0600 {}`", .path.display())]
    Open { path: PathBuf },
    #[error(
        "{} is no netrc file: for a cache behind HTTP write `machine HOST login USER password PASSWORD` in it",
        .path.display()
    )]
    NoNetrc { path: PathBuf },
    #[error("{} has no login for {host}: add `machine {host} login USER password PASSWORD`", .path.display())]
    NoHost { path: PathBuf, host: String },
    #[error(
        "{} has no lines like NAME=value: for an object store write its own variables in it (AWS_ACCESS_KEY_ID=…)",
        .path.display()
    )]
    NoVariables { path: PathBuf },
    #[error("a folder needs no login: leave out the file {}", .path.display())]
    Folder { path: PathBuf },
}

/// The user and the password for the address's host, as curl and Nix (`netrc-file`) read them.
pub fn of_host(path: &Path, url: &Url) -> Result<(String, String), LoginError> {
    let text = read(path)?;
    // What is wrong with it may quote it.
    let known: Netrc = text.parse().map_err(|_| LoginError::NoNetrc { path: path.to_owned() })?;
    if known.hosts.is_empty() {
        return Err(LoginError::NoNetrc { path: path.to_owned() });
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let found = known.hosts.get(host).or_else(|| known.hosts.get("default"));
    let no_host = || LoginError::NoHost { path: path.to_owned(), host: host.to_owned() };
    found.map(|found| (found.login.clone(), found.password.clone())).ok_or_else(no_host)
}

/// Lines like `AWS_ACCESS_KEY_ID=…`, as docker's `--env-file` has them, a value in quotes or not: no variable of ours goes
/// into it, because a `$` is a letter of a password.
pub fn variables(path: &Path) -> Result<Vec<(String, String)>, LoginError> {
    let text = read(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let variables: Option<Vec<_>> = lines.map(|line| line.split_once('=')).collect();
    let bare = |value: &str| {
        let quoted = ['\'', '"'].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        quoted.unwrap_or(value).to_owned()
    };
    match variables {
        Some(variables) if !variables.is_empty() => Ok(variables
            .into_iter()
            .map(|(name, value)| (name.trim().to_owned(), bare(value.trim())))
            .collect()),
        _ => Err(LoginError::NoVariables { path: path.to_owned() }),
    }
}

fn read(path: &Path) -> Result<String, LoginError> {
    let failed = |why| LoginError::File { path: path.to_owned(), why };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        return Err(LoginError::Open { path: path.to_owned() });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{LoginError, of_host, variables};

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_netrc_has_the_hosts_own_login_else_the_default_one() {
        let netrc = file("machine a.example\n  login me\n  password s$cret\ndefault login you password x\n");
        let of = |url: &str| of_host(netrc.path(), &url.parse().unwrap()).unwrap();
        assert_eq!(of("https://a.example/x"), ("me".to_owned(), "s$cret".to_owned()));
        assert_eq!(of("https://b.example:8443").0, "you");
        let netrc = file("machine a.example login me password secret\n");
        let refused = of_host(netrc.path(), &"https://b.example".parse().unwrap()).unwrap_err().to_string();
        assert!(refused.contains("machine b.example") && !refused.contains("secret"), "{refused}");
    }

    #[test]
    fn what_is_no_login_is_not_quoted() {
        for text in ["hunter2", "hunter2=", ""] {
            let file = file(text);
            let netrc = of_host(file.path(), &"https://a.example".parse().unwrap()).unwrap_err().to_string();
            assert!(netrc.contains("no netrc") && !netrc.contains("hunter2"), "{netrc}");
        }
        let no_lines = variables(file("hunter2").path()).unwrap_err().to_string();
        assert!(no_lines.contains("AWS_ACCESS_KEY_ID=") && !no_lines.contains("hunter2"), "{no_lines}");
    }

    #[test]
    fn variables_are_lines_with_comments_between() {
        let file = file("# ours\nAWS_ACCESS_KEY_ID=AK\nAWS_SECRET_ACCESS_KEY='a+$HOME/c#='\n");
        let found = variables(file.path()).unwrap();
        assert_eq!(found[1], ("AWS_SECRET_ACCESS_KEY".to_owned(), "a+$HOME/c#=".to_owned()));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_login_that_others_can_read_is_refused() {
        let file = file("A=b\n");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(variables(file.path()), Err(LoginError::Open { .. })));
    }
}
