use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

/// A real container registry (docker-registry) on a free port of the loopback; it ends when dropped.
pub struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`, the first part of its images' names.
    pub address: String,
    storage: PathBuf,
}

impl Registry {
    /// Start it with its storage in `folder`.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        Self::start_on(folder, 0)
    }

    /// The same on a port of its own (0: any).
    pub fn start_on(folder: &Path, port: u16) -> anyhow::Result<Self> {
        let storage = folder.join("registry");
        std::fs::create_dir_all(&storage)?;
        let configuration = serde_json::json!({
            "version": "0.1",
            "log": { "level": "info", "formatter": "json" },
            "storage": { "filesystem": { "rootdirectory": storage }, "delete": { "enabled": true } },
            "http": { "addr": format!("127.0.0.1:{port}") },
        });
        let file = folder.join("registry.yml");
        std::fs::write(&file, configuration.to_string())?;
        let log_path = folder.join("registry.log");
        let log = File::create(&log_path)?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("docker-registry does not start; type `make setup`")?;
        let mut registry = Self { child, address: String::new(), storage };
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            // Its log tells which port it took.
            let said = std::fs::read_to_string(&log_path)?;
            if let Some((_, rest)) = said.split_once("listening on 127.0.0.1:") {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                registry.address = format!("127.0.0.1:{port}");
                return Ok(registry);
            }
            ensure!(Instant::now() < deadline, "docker-registry does not start: {said}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Push an OCI layout folder as NAME:TAG and give the digest that the registry knows it by.
    pub fn push(&self, layout: &Path, name: &str, tag: &str) -> anyhow::Result<String> {
        let target = format!("docker://{}/{name}:{tag}", self.address);
        let digest_file = self.storage.join("pushed");
        let output = Command::new("skopeo")
            .args([
                "copy",
                "--all",
                "--quiet",
                "--dest-tls-verify=false",
                "--preserve-digests",
                "--digestfile",
            ])
            .arg(&digest_file)
            .arg(format!("oci:{}", layout.display()))
            .arg(&target)
            .output()
            .context("skopeo does not start; type `make setup`")?;
        ensure!(
            output.status.success(),
            "skopeo copy to {target}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(std::fs::read_to_string(digest_file)?.trim().to_owned())
    }

    /// Put a manifest list at NAME:TAG, as it is, and give its digest: skopeo would not push every one.
    pub fn put_list(&self, name: &str, tag: &str, list: &serde_json::Value) -> anyhow::Result<String> {
        let file = self.storage.join("list.json");
        std::fs::write(&file, list.to_string())?;
        let output = Command::new("curl")
            .args(["-fsS", "-X", "PUT", "-H", "content-type: application/vnd.oci.image.index.v1+json"])
            .arg("--data-binary")
            .arg(format!("@{}", file.display()))
            .arg(format!("http://{}/v2/{name}/manifests/{tag}", self.address))
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(format!("sha256:{}", hex::encode(Sha256::digest(std::fs::read(&file)?))))
    }

    /// What NAME:TAG means.
    pub fn digest(&self, name: &str, tag: &str) -> anyhow::Result<String> {
        let image = format!("docker://{}/{name}:{tag}", self.address);
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &image])?;
        Ok(format!("sha256:{}", hex::encode(Sha256::digest(raw.as_bytes()))))
    }

    /// Give what is at one tag another tag too.
    pub fn tag(&self, name: &str, tag: &str, other: &str) -> anyhow::Result<()> {
        let image = |tag: &str| format!("docker://{}/{name}:{tag}", self.address);
        let flags = ["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"];
        skopeo(&[&flags[..], &[&image(tag), &image(other)]].concat()).map(drop)
    }

    /// A manifest, or a manifest list.
    pub fn manifest(&self, name: &str, digest: &str) -> anyhow::Result<serde_json::Value> {
        let hex = digest.trim_start_matches("sha256:");
        ensure!(hex.len() == 64, "{name}@{digest} is not by digest");
        Ok(serde_json::from_slice(&std::fs::read(self.blob(hex))?)?)
    }

    fn blob(&self, hex: &str) -> PathBuf {
        self.storage.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// End it: from now on it cannot be reached.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Cut the last byte off a blob in the registry's storage.
    pub fn truncate_blob(&self, digest: &str) -> anyhow::Result<()> {
        let hex = digest.trim_start_matches("sha256:");
        let path = self.blob(hex);
        let file = File::options().write(true).open(&path).with_context(|| path.display().to_string())?;
        file.set_len(file.metadata()?.len() - 1)?;
        Ok(())
    }
}

fn skopeo(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("skopeo").args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}
