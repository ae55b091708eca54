//! A runner whose builds go to a cache.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use serde_json::Value;

use crate::scene::{Scene, program, succeeded};

/// A scene with a key to sign with.
pub struct Bench {
    pub scene: Scene,
    pub folder: tempfile::TempDir,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let bench = Self { scene: Scene::new(name).unwrap(), folder: tempfile::tempdir().unwrap() };
        bench.make_key("up-1");
        bench
    }

    pub fn make_key(&self, name: &str) {
        let mut make = Command::new(program());
        make.args(["key", "generate", "--name", name, "--out"]).arg(self.key());
        succeeded(&make.output().unwrap()).unwrap();
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    pub fn public_key(&self) -> String {
        fs::read_to_string(self.folder.path().join("key.pub")).unwrap().trim().to_owned()
    }

    pub fn up(&self, to: &str, wait: &str) {
        let key = self.key();
        // Nobody is upstream where nobody can be reached.
        let upstream = "http://127.0.0.1:9";
        let cache = ["--cache-to", to, "--cache-key", key.to_str().unwrap(), "--cache-wait", wait];
        self.scene.up(&[&cache[..], &["--cache-upstreams", upstream]].concat()).unwrap();
    }

    /// A field of what `status` says.
    pub fn record(&self, name: &str) -> String {
        let output = self.scene.run(&["status", &self.scene.name, "--output", "json"]).unwrap();
        let all: Value = serde_json::from_slice(&output.stdout).unwrap();
        all[0][name].as_str().unwrap().to_owned()
    }

    pub fn uploads(&self) -> Value {
        let output = self.scene.run(&["status", &self.scene.name, "--output", "json"]).unwrap();
        let all: Value = serde_json::from_slice(&output.stdout).unwrap();
        all[0]["uploads"].clone()
    }

    pub fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        for _ in 0..300 {
            if is_so(&self.uploads()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!(
            "{what}: {}\n{}",
            self.uploads(),
            self.scene.engine.logs(&format!("{}.pusher", self.scene.name))
        );
    }
}

/// What a job of two builds made, the lower path first.
pub fn paths(log: &str) -> Vec<String> {
    log.lines().filter_map(|line| Some(line.split_once("store path: ")?.1.trim().to_owned())).collect()
}

pub fn narinfo(path: &str) -> String {
    format!("{}.narinfo", &path.trim_start_matches("/nix/store/")[..32])
}
