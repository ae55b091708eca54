//! A base that is made of another one, and of what a container got into a store over that.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use super::linking::{copy_as, link_tree};
use crate::contract;

const DATABASE: &str = "var/nix/db";
/// No collection of garbage in a job's store looks at what would free nothing.
const ROOTS: &str = "var/nix/gcroots/vega-builder";

/// A base that is made of another one and what lies over it.
pub(super) struct Growth {
    pub place: PathBuf,
    pub lower: PathBuf,
    pub added: PathBuf,
}

impl Growth {
    /// The paths of `lower`, and those that are `known` in `added`, whose database knows both, each held by a root.
    pub fn grow(&self, known: &[String]) -> io::Result<usize> {
        let Self { place, lower, added } = self;
        let has = |folder: &Path, path: &str| folder.join("store").join(path).symlink_metadata().is_ok();
        let new: Vec<&String> = known.iter().filter(|path| !has(lower, path)).collect();
        if let Some(missing) = new.iter().find(|path| !has(added, path)) {
            return Err(io::Error::other(format!("{missing} is known to Nix, and not there")));
        }
        if new.is_empty() {
            return Ok(0);
        }
        copy_as(lower, place)?;
        let store = place.join("store");
        copy_as(&lower.join("store"), &store)?;
        for entry in fs::read_dir(lower.join("store"))? {
            let entry = entry?;
            // `.links` is Nix's own, for its optimisation.
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                link_tree(&entry.path(), &store.join(entry.file_name()))?;
            }
        }
        for path in &new {
            link_tree(&added.join("store").join(path), &store.join(path))?;
        }
        self.copy_database()?;
        self.hold(&new)?;
        sync(place)?;
        Ok(new.len())
    }

    fn copy_database(&self) -> io::Result<()> {
        let owner = self.lower.join("store").metadata()?;
        for path in ["var", "var/nix", DATABASE, "var/nix/gcroots", ROOTS] {
            let folder = self.place.join(path);
            fs::create_dir_all(&folder)?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
            chown(&folder, Some(owner.uid()), Some(owner.gid()))?;
        }
        // What the filler has not written again is the lower one's.
        for folder in [&self.lower, &self.added] {
            for entry in entries(&folder.join(DATABASE))? {
                if entry.file_type()?.is_file() {
                    let target = self.place.join(DATABASE).join(entry.file_name());
                    fs::copy(entry.path(), &target)?;
                    copy_as(&entry.path(), &target)?;
                }
            }
        }
        Ok(())
    }

    fn hold(&self, new: &[&String]) -> io::Result<()> {
        let held = entries(&self.lower.join(ROOTS))?.into_iter().map(|entry| entry.file_name());
        for name in held.chain(new.iter().map(Into::into)) {
            symlink(Path::new(contract::STORE).join(&name), self.place.join(ROOTS).join(&name))?;
        }
        Ok(())
    }
}

/// None, where there is no such folder.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(why) => Err(why),
    }
}

/// What was written is on the disk before it counts.
pub(super) fn sync(place: &Path) -> io::Result<()> {
    nix::unistd::syncfs(&File::open(place)?).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::Growth;

    fn path(root: &Path, name: &str) {
        fs::create_dir_all(root.join("store").join(name)).unwrap();
        fs::write(root.join("store").join(name).join("file"), name).unwrap();
    }

    fn growth(folder: &Path) -> Growth {
        let [place, lower, added] = ["place", "lower", "added"].map(|name| folder.join(name));
        fs::create_dir_all(&place).unwrap();
        path(&lower, "old");
        path(&added, "new");
        path(&added, "half-fetched");
        fs::create_dir_all(added.join("var/nix/db")).unwrap();
        fs::write(added.join("var/nix/db/db.sqlite"), "new").unwrap();
        fs::create_dir_all(lower.join("var/nix/db")).unwrap();
        for (file, text) in [("db.sqlite", "old"), ("schema", "10")] {
            fs::write(lower.join("var/nix/db").join(file), text).unwrap();
        }
        Growth { place, lower, added }
    }

    #[test]
    fn what_nix_knows_is_there_held_by_a_root_and_what_was_fetched_by_half_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let growth = growth(folder.path());
        assert_eq!(growth.grow(&["new".to_owned(), "old".to_owned()]).unwrap(), 1);
        let read = |path: &str| fs::read_to_string(growth.place.join(path)).unwrap_or_default();
        assert_eq!((read("store/new/file"), read("store/old/file")), ("new".to_owned(), "old".to_owned()));
        assert_eq!(
            (read("var/nix/db/db.sqlite"), read("var/nix/db/schema")),
            ("new".to_owned(), "10".to_owned())
        );
        assert!(!growth.place.join("store/half-fetched").exists());
        let root = growth.place.join("var/nix/gcroots/vega-builder/new");
        assert_eq!(fs::read_link(root).unwrap(), Path::new("/nix/store/new"));
        assert_eq!(growth.grow(&["old".to_owned()]).unwrap(), 0);
    }

    #[test]
    fn a_database_that_knows_what_is_not_there_makes_no_base() {
        let folder = tempfile::tempdir().unwrap();
        let why = growth(folder.path()).grow(&["new".to_owned(), "gone".to_owned()]).unwrap_err();
        assert!(why.to_string().contains("gone is known to Nix, and not there"), "{why}");
    }
}
