//! What tests of `push` share: a store, a cache in a folder, and a key.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    nix_store::NixStore,
    scene::{program, succeeded},
};

/// All of one test's own.
pub struct PushBench {
    pub store: NixStore,
    pub folder: tempfile::TempDir,
}

impl PushBench {
    pub fn new() -> anyhow::Result<Self> {
        let bench = Self { store: NixStore::new()?, folder: tempfile::tempdir()? };
        let mut make = Command::new(program());
        make.args(["key", "generate", "--name", "test-1", "--out"]).arg(bench.key());
        succeeded(&make.output()?)?;
        Ok(bench)
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    pub fn public_key(&self) -> String {
        fs::read_to_string(self.folder.path().join("key.pub")).unwrap_or_default().trim().to_owned()
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub fn push(&self, to: &str, paths: &[&str], options: &[&str]) -> Output {
        self.command(to, paths, options).output().expect("vega-builder does not start")
    }

    pub fn command(&self, to: &str, paths: &[&str], options: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(["push", "--store", &self.store.url(), "--to", to, "--output", "json", "--key"])
            .arg(self.key())
            .args(["--upstream", ""])
            .args(options)
            .args(paths);
        command
    }

    /// Push to the folder, and give the result.
    pub fn pushed(&self, paths: &[&str], options: &[&str]) -> anyhow::Result<Value> {
        let to = self.cache().display().to_string();
        result(&succeeded(&self.push(&to, paths, options))?)
    }

    pub fn narinfo(&self, path: &str) -> std::io::Result<String> {
        fs::read_to_string(self.cache().join(format!("{}.narinfo", hash(path))))
    }
}

/// The letters by which a cache knows a path.
pub fn hash(path: &str) -> &str {
    &path.trim_start_matches("/nix/store/")[..32]
}

/// What the last line of JSON says.
pub fn result(out: &str) -> anyhow::Result<Value> {
    let last: Value = serde_json::from_str(out.lines().last().unwrap_or_default())?;
    Ok(last["result"].clone())
}
