//! The images that are pushed: the demo image (built by `make image`), and tiny ones for tests that run none.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The project's root: where `target/` is.
pub fn project() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.to_owned(), Path::to_owned)
}

/// The demo image as an OCI layout with a manifest list.
pub fn demo_image() -> PathBuf {
    project().join("target/demo/image")
}

/// The stand-in of an image that is not ours: a shell entrypoint, no layout label.
pub fn foreign_image() -> PathBuf {
    project().join("target/demo/foreign-image")
}

/// The machine's architecture in the words of OCI images.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// An OCI layout of an image without layers, whose digest `salt` makes its own.
pub fn tiny_image(folder: &Path, salt: &str) -> anyhow::Result<PathBuf> {
    let layout = Layout::new(folder, salt)?;
    let entry = layout.image(salt, architecture())?;
    layout.finish(&[entry])
}

/// The same for an image of another architecture.
pub fn foreign_tiny_image(folder: &Path, salt: &str) -> anyhow::Result<PathBuf> {
    let layout = Layout::new(folder, salt)?;
    let entry = layout.image(salt, "riscv64")?;
    layout.finish(&[entry])
}

/// A manifest list that says of an image of another architecture that it is this machine's.
pub fn lying_list(folder: &Path, salt: &str) -> anyhow::Result<PathBuf> {
    let layout = Layout::new(folder, salt)?;
    let mut entry = layout.image(salt, "riscv64")?;
    entry["platform"] = json!({ "os": "linux", "architecture": architecture() });
    let list = layout.list(&[entry])?;
    layout.finish(&[list])
}

/// A manifest list that says of `digest`, whatever it is, that it is this machine's image.
pub fn list_of(digest: &str, size: u64) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [{
            "mediaType": INDEX, "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": architecture() },
        }],
    })
}

/// An OCI layout in the making.
struct Layout(PathBuf);

impl Layout {
    fn new(folder: &Path, salt: &str) -> anyhow::Result<Self> {
        let layout = folder.join(format!("tiny-{salt}"));
        fs::create_dir_all(layout.join("blobs/sha256"))?;
        Ok(Self(layout))
    }

    /// Write a blob and give its descriptor.
    fn put(&self, media_type: &str, content: &Value) -> anyhow::Result<Value> {
        let bytes = content.to_string().into_bytes();
        let hex = hex::encode(Sha256::digest(&bytes));
        fs::write(self.0.join("blobs/sha256").join(&hex), &bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() }))
    }

    fn image(&self, salt: &str, architecture: &str) -> anyhow::Result<Value> {
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": { "Labels": { "salt": salt }, "Entrypoint": ["/bin/none"] },
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let config = self.put("application/vnd.oci.image.config.v1+json", &config)?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [],
        });
        self.put("application/vnd.oci.image.manifest.v1+json", &manifest)
    }

    fn list(&self, entries: &[Value]) -> anyhow::Result<Value> {
        self.put(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }))
    }

    fn finish(self, entries: &[Value]) -> anyhow::Result<PathBuf> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        fs::write(self.0.join("index.json"), index.to_string())?;
        fs::write(self.0.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(self.0)
    }
}
