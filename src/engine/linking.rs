//! Trees of files that two volumes share, by hard links: nobody writes to them again.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::Path,
};

use nix::sys::{
    stat::{UtimensatFlags, utimensat},
    time::TimeSpec,
};

/// Everything below `from`, its folders made anew as they are there, and its files and links the very same.
pub fn link_tree(from: &Path, to: &Path) -> io::Result<()> {
    let found = from.symlink_metadata()?;
    if !found.is_dir() {
        // Of a symbolic link another name, not one of what it leads to.
        return match fs::hard_link(from, to) {
            // Volumes whose disk quotas are counted apart share no file.
            Err(why) if why.kind() == io::ErrorKind::CrossesDevices => copy(from, to),
            linked => linked,
        };
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        link_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    copy_as(from, to)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let found = from.symlink_metadata()?;
    if found.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return lchown(to, Some(found.uid()), Some(found.gid()));
    }
    fs::copy(from, to)?;
    copy_as(from, to)
}

/// `to`, made a folder if it is not there, gets the owner, rights and time of `from`.
pub fn copy_as(from: &Path, to: &Path) -> io::Result<()> {
    let found = from.metadata()?;
    if found.is_dir() {
        fs::create_dir_all(to)?;
    }
    chown(to, Some(found.uid()), Some(found.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    let time = TimeSpec::new(found.mtime(), found.mtime_nsec());
    utimensat(nix::fcntl::AT_FDCWD, to, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
        path::Path,
    };

    use super::{copy, link_tree};

    #[test]
    fn files_and_links_are_the_very_same_and_folders_are_alike() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/program"), "x").unwrap();
        symlink("/etc/shadow", from.join("bin/link")).unwrap();
        fs::set_permissions(from.join("bin"), fs::Permissions::from_mode(0o555)).unwrap();
        link_tree(&from, &to).unwrap();
        let inode = |path: &Path| path.symlink_metadata().unwrap().ino();
        for name in ["bin/program", "bin/link"] {
            assert_eq!(inode(&from.join(name)), inode(&to.join(name)), "{name}");
        }
        assert_ne!(inode(&from.join("bin")), inode(&to.join("bin")));
        let (was, is) = (from.join("bin").metadata().unwrap(), to.join("bin").metadata().unwrap());
        assert_eq!((was.mode(), was.mtime()), (is.mode(), is.mtime()));
        copy(&from.join("bin/link"), &folder.path().join("link")).unwrap();
        assert_eq!(fs::read_link(folder.path().join("link")).unwrap(), Path::new("/etc/shadow"));
        copy(&from.join("bin/program"), &folder.path().join("program")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("program")).unwrap(), "x");
        for made in [&from, &to] {
            fs::set_permissions(made.join("bin"), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}
