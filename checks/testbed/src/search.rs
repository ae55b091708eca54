//! Where can a secret be seen? Everywhere that a person or a program of this machine can look.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::ensure;

use crate::engine::Engine;

/// A larger file holds no token; what is read is read in pieces anyway.
const LARGEST: u64 = 256 << 20;

/// A secret to look for.
pub struct Search<'a> {
    needle: &'a [u8],
    /// Places where it was seen.
    pub seen: Vec<String>,
}

impl<'a> Search<'a> {
    pub fn new(secret: &'a str) -> Self {
        Self { needle: secret.as_bytes(), seen: Vec::new() }
    }

    pub fn text(&mut self, place: &str, text: &str) {
        if contains(text.as_bytes(), self.needle) {
            self.seen.push(place.to_owned());
        }
    }

    /// What the engine tells of a container: its description and its whole log. An error when it tells nothing:
    /// nothing would be found in it.
    pub fn container(&mut self, engine: &Engine, name: &str) -> anyhow::Result<()> {
        let told = engine.said(&["container", "inspect", name])?;
        ensure!(told.contains(name), "inspect does not tell of {name}");
        self.text("inspect", &told);
        let output = engine.run(&["logs", name])?;
        let log = [output.stdout, output.stderr].concat();
        ensure!(output.status.success() && !log.is_empty(), "{name} has no log");
        self.text("logs", &String::from_utf8_lossy(&log));
        Ok(())
    }

    /// Environment and arguments of every process of this machine, those in containers too.
    pub fn processes(&mut self) {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            for file in ["environ", "cmdline"] {
                let path = entry.path().join(file);
                if fs::read(&path).is_ok_and(|bytes| contains(&bytes, self.needle)) {
                    self.seen.push(path.display().to_string());
                }
            }
        }
    }

    /// Every file below `root`, on every file system mounted there but the kernel's own.
    pub fn files(&mut self, root: &Path) {
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let Ok(metadata) = path.symlink_metadata() else { continue };
                if metadata.is_dir() {
                    if !is_kernels(&path) {
                        folders.push(path);
                    }
                } else if metadata.is_file() && metadata.size() <= LARGEST && self.in_file(&path) {
                    self.seen.push(path.display().to_string());
                }
            }
        }
    }

    /// The file system that a container sees, its volumes too.
    pub fn container_files(&mut self, engine: &Engine, name: &str) -> anyhow::Result<()> {
        let pid = engine.pid(name)?;
        ensure!(pid != 0, "{name} does not run: there is nothing to search");
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        for folder in ["nix", "home", "run", "tmp", "var", "etc", "root", "dev/shm", "usr/share/vega-builder"]
        {
            self.files(&root.join(folder));
        }
        Ok(())
    }

    fn in_file(&self, path: &Path) -> bool {
        let Ok(mut file) = fs::File::open(path) else { return false };
        let keep = self.needle.len().saturating_sub(1);
        let mut buffer = vec![0; 1 << 20];
        let mut filled = 0;
        while let Ok(length) = file.read(&mut buffer[filled..])
            && length > 0
        {
            filled += length;
            if contains(&buffer[..filled], self.needle) {
                return true;
            }
            // A secret may lie across two pieces.
            let rest = filled.min(keep);
            buffer.copy_within(filled - rest..filled, 0);
            filled = rest;
        }
        false
    }
}

fn is_kernels(path: &Path) -> bool {
    ["/proc", "/sys"].iter().any(|place| path == Path::new(place))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

#[cfg(test)]
mod tests {
    use super::Search;

    #[test]
    fn a_secret_is_found_across_two_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = vec![b'x'; (1 << 20) - 3];
        bytes.extend(b"SECRET");
        std::fs::write(folder.path().join("file"), &bytes).unwrap();
        let mut search = Search::new("SECRET");
        search.files(folder.path());
        assert_eq!(search.seen.len(), 1);
        let mut search = Search::new("OTHER");
        search.files(folder.path());
        assert!(search.seen.is_empty());
    }
}
