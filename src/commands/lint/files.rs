//! The workflow files of a repository on disk.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::workflow::{Actions, FOLDER, Set, is_workflow_file};

/// A repository's folder, or the folder of one file.
#[derive(Debug)]
pub struct Folder {
    /// The repository's root, where that is known.
    pub root: Option<PathBuf>,
    /// The files, and what they are called in the repository.
    files: Vec<(PathBuf, String)>,
    /// Tell of this file alone.
    pub only: Option<String>,
}

/// More than GitHub reads, so that its own bound is what is told.
const MOST_BYTES: u64 = 8 << 20;

impl Folder {
    pub fn find(given: &Path) -> anyhow::Result<Self> {
        let kind = fs::metadata(given).with_context(|| format!("{} cannot be read", given.display()))?;
        if kind.is_dir() {
            return Self::of_repository(given);
        }
        let name = given.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parent = given.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = parent.canonicalize().with_context(|| format!("{} cannot be read", parent.display()))?;
        if parent.ends_with(FOLDER)
            && let Some(root) = parent.parent().and_then(Path::parent)
        {
            // The others may call it, and it may call them.
            let folder = Self::of_repository(root)?;
            return Ok(Self { only: Some(format!("{FOLDER}/{name}")), ..folder });
        }
        Ok(Self { root: None, files: vec![(given.to_owned(), given.display().to_string())], only: None })
    }

    fn of_repository(root: &Path) -> anyhow::Result<Self> {
        for part in [Path::new(FOLDER).parent().unwrap_or(Path::new(FOLDER)), Path::new(FOLDER)] {
            if fs::symlink_metadata(root.join(part)).is_ok_and(|found| found.is_symlink()) {
                bail!(
                    "{} is a symbolic link, which GitHub does not follow; make it a folder",
                    root.join(part).display()
                );
            }
        }
        let folder = root.join(FOLDER);
        let entries = fs::read_dir(&folder).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => anyhow::anyhow!(
                "{} has no {FOLDER}: name the repository's folder, or a workflow file",
                root.display()
            ),
            _ => anyhow::anyhow!("{} cannot be read: {why}", folder.display()),
        })?;
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("{} cannot be read", folder.display()))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if is_workflow_file(&name) && !entry.file_type()?.is_dir() {
                files.push((entry.path(), format!("{FOLDER}/{name}")));
            }
        }
        files.sort();
        Ok(Self { root: Some(root.to_owned()), files, only: None })
    }

    /// Read them all.
    pub fn set(&self) -> anyhow::Result<Set> {
        let mut set = Set::default();
        for (path, name) in &self.files {
            match read(path)? {
                Ok(text) => set.add(name, &text),
                Err(why) => set.add_unread(name, why),
            };
        }
        Ok(set)
    }

    /// Where a file of the set is on disk.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.files.iter().find(|(_, known)| known == name).map(|(path, _)| path.as_path())
    }
}

/// A file's text, or why it is none that GitHub would read.
pub fn read(path: &Path) -> anyhow::Result<Result<String, &'static str>> {
    let unreadable = || format!("{} cannot be read", path.display());
    let found = fs::symlink_metadata(path).with_context(unreadable)?;
    // GitHub follows none either, and its target may be a file that nobody should see.
    if found.is_symlink() {
        return Ok(Err("a symbolic link, which GitHub does not follow; put the file itself there"));
    }
    // Nobody may ever write into a pipe that lies there.
    if !found.is_file() {
        return Ok(Err("no regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
        .with_context(unreadable)?;
    Ok(String::from_utf8(bytes).map_err(|_| "no UTF-8 text"))
}

/// The text of a file that may not be there.
fn text(path: &Path) -> Option<String> {
    read(path).ok()?.ok()
}

impl Actions for Folder {
    /// The metadata of an action in the repository itself.
    fn using(&self, uses: &str) -> Option<String> {
        let inside = Path::new(uses.strip_prefix("./")?);
        if !inside.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            return None;
        }
        let folder = self.root.as_ref()?.join(inside);
        let metadata = ["action.yml", "action.yaml"].iter().find_map(|name| text(&folder.join(name)))?;
        crate::workflow::using(&metadata)
    }

    fn commit(&self, _: &str) -> Option<String> {
        None
    }

    fn flake_names_substituter(&self) -> bool {
        let flake = self.root.as_ref().and_then(|root| text(&root.join("flake.nix")));
        flake.is_some_and(|text| text.contains("substituters"))
    }
}
