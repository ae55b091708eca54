//! Secrets that come as files: read once, and gone from there afterwards.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::value::RegistrationToken;

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{}: {why}", .path.display())]
    File { path: PathBuf, why: io::Error },
    #[error("the token file {} holds no registration token", .0.display())]
    NoToken(PathBuf),
    #[error(
        "{} cannot be removed by this container ({why}), so it was not used: a secret must be gone before a job runs; mount it without `:ro`, or mount the folder that it lies in, or hand it over as a variable", .path.display()
    )]
    Stays { path: PathBuf, why: io::Error },
}

/// The registration token in this file, when there is one: after this it is in our memory alone.
pub fn take_token(path: &Path) -> Result<Option<RegistrationToken>, TokenError> {
    let Some(text) = take(path)? else { return Ok(None) };
    let token = text.trim();
    // Where a file cannot be removed but be emptied, an empty one is what was taken before.
    if token.is_empty() {
        return Ok(None);
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::NoToken(path.to_owned()));
    }
    Ok(Some(RegistrationToken::new(token)))
}

/// The content of a secret's file, which is empty or gone afterwards.
pub fn take(path: &Path) -> Result<Option<Zeroizing<String>>, TokenError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(TokenError::File { path: path.to_owned(), why }),
    };
    discard(path).map_err(|why| TokenError::Stays { path: path.to_owned(), why })?;
    Ok(Some(text))
}

/// Empty the file, then remove it: where it cannot be removed (it is mounted itself, or an inherited
/// descriptor) its content is gone.
pub fn discard(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).truncate(true).open(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => {
            // Not to be written to, but perhaps to be removed.
            return fs::remove_file(path).map_err(|_| why);
        }
        Ok(file) => drop(file),
    }
    if !path.starts_with("/proc") {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::take_token;

    #[test]
    fn a_token_is_gone_from_its_file_when_it_is_taken_even_a_bad_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(take_token(&path).unwrap().is_none());
        for (text, good) in [("AABBCC\n", true), ("", false), ("two words", false)] {
            fs::write(&path, text).unwrap();
            assert_eq!(take_token(&path).is_ok_and(|token| token.is_some()), good, "{text:?}");
            assert!(!path.exists());
        }
    }
}
