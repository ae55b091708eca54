//! The key that signs what is pushed, in the form of `nix key generate-secret`: `NAME:BASE64`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use harmonia_store_core::signature::{PublicKey, SecretKey};
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key {}: {why}; check its folder and its permissions", .path.display())]
    File { path: PathBuf, why: io::Error },
    #[error("{} is there already, and a key that is lost signs nothing again: choose another file", .path.display())]
    Exists { path: PathBuf },
    #[error(
        "{} is no secret key of Nix's (NAME:BASE64); make one with `vega-builder key generate --name NAME --out FILE`",
        .path.display()
    )]
    Form { path: PathBuf },
    #[error("others can read {}: type `chmod 0400 {}`", .path.display(), .path.display())]
    Open { path: PathBuf },
    #[error("'{0}' is no name for a key: take letters, digits, '.', '_' and '-', e.g. octo-org-1")]
    Name(String),
    #[error("Vega signs what is pushed there with the tenant's own key: leave out --key")]
    NotOurs,
    #[error("no key could be made: the system gives no randomness")]
    NoRandomness,
}

/// Read a secret key that nobody else can read.
pub fn read(path: &Path) -> Result<SecretKey, KeyError> {
    let failed = |why| KeyError::File { path: path.to_owned(), why };
    let mut file = File::open(path).map_err(failed)?;
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    let key = text.trim().parse().map_err(|_| KeyError::Form { path: path.to_owned() })?;
    if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned() });
    }
    Ok(key)
}

/// Make a key of this name: the secret one in `path`, 0400, and the public one beside it in `path.pub`.
pub fn generate(name: &str, path: &Path) -> Result<PublicKey, KeyError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(is_fine) {
        return Err(KeyError::Name(name.to_owned()));
    }
    let key =
        SecretKey::generate(name.to_owned(), &SystemRandom::new()).map_err(|_| KeyError::NoRandomness)?;
    let public = key.to_public_key();
    let beside = public_path(path);
    // Neither of them in the place of what is there.
    let secret = Zeroizing::new(key.to_string());
    let made = create(path, 0o400, &secret)
        .map_err(|why| refused(path, why))
        .and_then(|()| create(&beside, 0o444, &public.to_string()).map_err(|why| refused(&beside, why)));
    if let Err(error) = made {
        if !matches!(&error, KeyError::Exists { path: there } if there == path) {
            let _ = fs::remove_file(path);
        }
        return Err(error);
    }
    Ok(public)
}

/// Where the public half of a key lies.
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn create(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn refused(path: &Path, why: io::Error) -> KeyError {
    let path = path.to_owned();
    if why.kind() == io::ErrorKind::AlreadyExists {
        KeyError::Exists { path }
    } else {
        KeyError::File { path, why }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use harmonia_store_core::signature::{PublicKey, SecretKey};

    use super::{KeyError, generate, public_path, read};

    #[test]
    fn the_published_known_answer_comes_out() {
        let key: SecretKey =
            "vega-kat-1:CzBVep/E6Q4zWH2ix+wRNluApcrvFDleg6jN8hc8YYYkw6SU+iKZYmZEuWWpEy2nnP5nFR/cQt5gDPCQl9uCRw=="
                .parse()
                .unwrap();
        assert_eq!(
            key.to_public_key().to_string(),
            "vega-kat-1:JMOklPoimWJmRLllqRMtp5z+ZxUf3ELeYAzwkJfbgkc="
        );
        assert_eq!(
            key.sign("vega known-answer vector: do not change").to_string(),
            "vega-kat-1:M8eDAtZQkUDp5JOcBOW1eJ50YeOYvocwQvbbCd2Cj5Rknk0PoCk42v07b5O2nyALI/nyxE7cz4V2q8jc3D0ZCg=="
        );
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let public = generate("octo-org-1", &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(read(&path).unwrap().to_public_key(), public);
        let beside: PublicKey = fs::read_to_string(public_path(&path)).unwrap().trim().parse().unwrap();
        assert_eq!(beside, public);
        let secret = fs::read(&path).unwrap();
        assert!(matches!(generate("octo-org-1", &path), Err(KeyError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), secret);
        // A public key alone is somebody's too; nothing half done stays.
        let other = folder.path().join("other");
        fs::write(public_path(&other), "").unwrap();
        assert!(matches!(generate("octo-org-1", &other), Err(KeyError::Exists { .. })) && !other.exists());
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        generate("a", &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("chmod 0400"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "a:nonsense").unwrap();
        assert!(matches!(read(&path), Err(KeyError::Form { .. })));
        assert!(matches!(generate("a:b", &folder.path().join("x")), Err(KeyError::Name(_))));
        assert!(matches!(read(&folder.path().join("none")), Err(KeyError::File { .. })));
    }
}
