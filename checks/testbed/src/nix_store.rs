//! A Nix store of a test's own, in a folder, with paths that the test has made up.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, ensure};
use sha2::Digest as _;

/// A store below a folder; gone when dropped.
pub struct NixStore {
    folder: tempfile::TempDir,
}

impl NixStore {
    pub fn new() -> anyhow::Result<Self> {
        let store = Self { folder: tempfile::tempdir()? };
        fs::create_dir_all(store.root().join("nix/store"))?;
        Ok(store)
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// As Nix's `--store` names it.
    pub fn url(&self) -> String {
        format!("local?root={}", self.root().display())
    }

    /// Where the content of a path lies.
    pub fn real(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// A valid path of this name: `fill` makes its content, and it refers to these.
    pub fn add(
        &self,
        name: &str,
        references: &[&str],
        fill: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> anyhow::Result<String> {
        // Any 32 letters of Nix's alphabet do, as long as no two names share them.
        let path = format!("/nix/store/{}-{name}", letters(name));
        fill(&self.real(&path))?;
        let nar = Command::new("nix-store").arg("--dump").arg(self.real(&path)).output()?.stdout;
        let hash = hex::encode(sha2::Sha256::digest(&nar));
        let deriver = format!("/nix/store/{}-{name}.drv", letters("deriver"));
        let references = format!("{}\n{}", references.len(), lines(references));
        let text = format!("{path}\n{hash}\n{}\n{deriver}\n{references}", nar.len());
        self.load(&text)?;
        Ok(path)
    }

    fn load(&self, registration: &str) -> anyhow::Result<()> {
        let mut child = Command::new("nix-store")
            .args(["--store", &self.url(), "--load-db"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("nix-store does not start")?;
        child.stdin.take().context("stdin")?.write_all(registration.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// A path that is one small file.
    pub fn file(&self, name: &str, references: &[&str]) -> anyhow::Result<String> {
        self.add(name, references, |path| fs::write(path, format!("{name} {}", references.join(" "))))
    }

    /// So many paths, each a small file, made known all at once.
    pub fn files(&self, name: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let mut registration = String::new();
        let mut paths = Vec::with_capacity(count);
        for number in 0..count {
            let name = format!("{name}-{number}");
            let path = format!("/nix/store/{}-{name}", letters(&name));
            let content = name.repeat(40);
            fs::write(self.real(&path), &content)?;
            let nar = nar(&content);
            let hash = hex::encode(sha2::Sha256::digest(&nar));
            let _ = write!(registration, "{path}\n{hash}\n{}\n\n0\n", nar.len());
            paths.push(path);
        }
        self.load(&registration)?;
        Ok(paths)
    }

    /// A path that is named by its content, as a source is.
    pub fn source(&self, from: &Path) -> anyhow::Result<String> {
        let output = Command::new("nix-store").args(["--store", &self.url(), "--add"]).arg(from).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Collect the garbage: what no root holds goes.
    pub fn collect_garbage(&self) -> anyhow::Result<()> {
        let output = Command::new("nix-store").args(["--store", &self.url(), "--gc"]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Have Nix itself fetch a path into this store, from these caches alone, trusting this key alone.
    pub fn substitute(&self, path: &str, caches: &str, key: &str) -> anyhow::Result<Output> {
        Ok(Command::new("nix")
            .args([
                "--extra-experimental-features",
                "nix-command",
                "copy",
                "--from",
                caches,
                "--to",
                &self.url(),
            ])
            .args(["--option", "trusted-public-keys", key, "--option", "narinfo-cache-positive-ttl", "0"])
            .arg(path)
            .env("HOME", self.folder.path())
            .output()?)
    }
}

/// The NAR of one file that is not executable.
fn nar(content: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in ["nix-archive-1", "(", "type", "regular", "contents", content, ")"] {
        bytes.extend((word.len() as u64).to_le_bytes());
        bytes.extend(word.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

fn lines(of: &[&str]) -> String {
    of.iter().flat_map(|line| [*line, "\n"]).collect()
}

/// 32 letters of Nix's alphabet that belong to a name.
fn letters(name: &str) -> String {
    const ALPHABET: &[u8] = b"0123456789abcdfghijklmnpqrsvwxyz";
    let digest = sha2::Sha256::digest(name);
    digest.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % 32])).collect()
}
