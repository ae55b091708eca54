//! The images that are pushed: the demo image (built by `make image`), and tiny ones for tests that run none.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use sha2::{Digest as _, Sha256};

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

/// An OCI layout of an image without layers, whose digest `salt` makes its own.
pub fn tiny_image(folder: &Path, salt: &str) -> anyhow::Result<PathBuf> {
    let layout = folder.join(format!("tiny-{salt}"));
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let put = |bytes: &[u8]| -> anyhow::Result<(String, usize)> {
        let hex = hex::encode(Sha256::digest(bytes));
        fs::write(blobs.join(&hex), bytes)?;
        Ok((format!("sha256:{hex}"), bytes.len()))
    };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": { "Labels": { "salt": salt }, "Entrypoint": ["/bin/none"] },
        "rootfs": { "type": "layers", "diff_ids": [] },
    });
    let (config, config_size) = put(config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size },
        "layers": [],
    });
    let (manifest, manifest_size) = put(manifest.to_string().as_bytes())?;
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": manifest_size,
        }],
    });
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(layout)
}
