use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink},
    path::Path,
};

use nix::{
    fcntl::AT_FDCWD,
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::TimeSpec,
    },
};

use super::Error;

/// What a half-copied path is called until it is whole; no store path starts with a dot.
const UNFINISHED: &str = ".vega-builder-seed";

/// Copy the store paths of `from` (a folder with `store/` in it) that `to` lacks, and give their number.
///
/// Each path appears under its name only when it is whole: a copy that was cut short leaves nothing that
/// looks like a store path, and is begun anew the next time.
pub fn seed(from: &Path, to: &Path) -> Result<usize, Error> {
    let (source, target) = (from.join("store"), to.join("store"));
    fs::create_dir_all(&target).map_err(|why| Error::file(&target, why))?;
    let unfinished = target.join(UNFINISHED);
    remove(&unfinished)?;
    let mut copied = 0;
    for entry in fs::read_dir(&source).map_err(|why| Error::file(&source, why))? {
        let entry = entry.map_err(|why| Error::file(&source, why))?;
        let name = entry.file_name();
        // `.links` is Nix's own, for its optimisation.
        if name.as_encoded_bytes().starts_with(b".") || target.join(&name).symlink_metadata().is_ok() {
            continue;
        }
        copy(&entry.path(), &unfinished).map_err(|why| Error::file(entry.path(), why))?;
        // A folder without the right to write cannot be renamed by root without CAP_DAC_OVERRIDE's help; it
        // gets its final mode first, as Nix does, and the parent's rights decide.
        fs::rename(&unfinished, target.join(&name)).map_err(|why| Error::file(target.join(&name), why))?;
        copied += 1;
    }
    Ok(copied)
}

fn remove(path: &Path) -> Result<(), Error> {
    match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(metadata) if metadata.is_dir() => {
            make_writable(path);
            fs::remove_dir_all(path)
        }
        Ok(_) => fs::remove_file(path),
    }
    .map_err(|why| Error::file(path, why))
}

/// Store paths have no write bits, without which their content cannot be removed.
fn make_writable(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = from.symlink_metadata()?;
    if metadata.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if metadata.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    } else if metadata.is_file() {
        fs::copy(from, to)?;
    } else {
        return Err(io::Error::other("a store path holds files, folders and links only"));
    }
    if nix::unistd::geteuid().is_root() {
        lchown(to, Some(0), Some(0))?;
    }
    let time = TimeSpec::new(1, 0);
    utimensat(AT_FDCWD, to, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
        path::Path,
    };

    use super::{UNFINISHED, seed};

    fn store_path(root: &Path, name: &str) {
        let path = root.join("store").join(name);
        fs::create_dir_all(path.join("bin")).unwrap();
        fs::write(path.join("bin/program"), name).unwrap();
        fs::set_permissions(path.join("bin/program"), fs::Permissions::from_mode(0o555)).unwrap();
        symlink("program", path.join("bin/link")).unwrap();
        fs::set_permissions(path.join("bin"), fs::Permissions::from_mode(0o555)).unwrap();
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_there_stays() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        store_path(from.path(), "aaa-new");
        store_path(from.path(), "bbb-both");
        fs::create_dir_all(to.path().join("store/bbb-both")).unwrap();
        fs::create_dir_all(to.path().join("store/ccc-old")).unwrap();
        assert_eq!(seed(from.path(), to.path()).unwrap(), 1);
        assert_eq!(seed(from.path(), to.path()).unwrap(), 0);
        let added = to.path().join("store/aaa-new");
        assert_eq!(fs::read_to_string(added.join("bin/link")).unwrap(), "aaa-new");
        assert_eq!(added.join("bin/program").metadata().unwrap().mode() & 0o777, 0o555);
        assert_eq!(added.metadata().unwrap().mtime(), 1);
        assert!(to.path().join("store/ccc-old").exists());
        assert!(!to.path().join("store/bbb-both/bin").exists());
    }

    #[test]
    fn a_copy_that_was_killed_half_way_is_done_anew() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        store_path(from.path(), "aaa-new");
        let rest = to.path().join("store").join(UNFINISHED);
        fs::create_dir_all(rest.join("bin")).unwrap();
        fs::write(rest.join("bin/half"), "").unwrap();
        fs::set_permissions(rest.join("bin"), fs::Permissions::from_mode(0o555)).unwrap();
        assert_eq!(seed(from.path(), to.path()).unwrap(), 1);
        assert!(!rest.exists());
        assert!(!to.path().join("store/aaa-new/bin/half").exists());
    }
}
