//! The demo image with one small layer more: another digest, and a layer that no engine holds yet.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A file of the layer: where it is in the image, and what is in it; everybody may execute it.
pub type Executable<'a> = (&'a str, &'a [u8]);

/// The new layout, and the digest of the layer that is its own.
pub fn salted(image: &Path, folder: &Path, salt: &str) -> anyhow::Result<(PathBuf, String)> {
    layered(image, folder, salt, &[])
}

/// The same with files of its own, which hide the image's.
pub fn layered(
    image: &Path,
    folder: &Path,
    salt: &str,
    files: &[Executable<'_>],
) -> anyhow::Result<(PathBuf, String)> {
    let layout = folder.join(format!("salted-{salt}"));
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(image).arg(&layout).status()?;
    ensure!(copied.success(), "{} cannot be copied", image.display());
    let layer = layer(folder, salt, files)?;
    let layer_digest = put(&layout, &layer)?;
    change(&layout, |manifest, config| {
        let added = json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": layer.len(),
        });
        array(&mut config["rootfs"]["diff_ids"])?.push(json!(layer_digest));
        array(&mut config["history"])?.push(json!({ "created_by": "a grain of salt" }));
        array(&mut manifest["layers"])?.push(added);
        Ok(())
    })?;
    Ok((layout, layer_digest))
}

/// What keeps its word in every way but one: it never listens.
pub const MUTE: [&str; 3] = ["sh", "-c", "trap 'exit 0' INT TERM; sleep 600 & wait"];

/// The new layout, of an image that starts something else.
pub fn with_entrypoint(
    image: &Path,
    folder: &Path,
    salt: &str,
    entrypoint: &[&str],
) -> anyhow::Result<(PathBuf, String)> {
    let (layout, digest) = salted(image, folder, salt)?;
    change(&layout, |_, config| {
        config["config"]["Entrypoint"] = json!(entrypoint);
        Ok(())
    })?;
    Ok((layout, digest))
}

/// Change the manifest and the configuration of the layout's first image.
fn change(
    layout: &Path,
    change: impl FnOnce(&mut Value, &mut Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let mut list = blob(layout, &index["manifests"][0])?;
    let mut manifest = blob(layout, &list["manifests"][0])?;
    let mut config = blob(layout, &manifest["config"])?;
    change(&mut manifest, &mut config)?;
    describe(layout, &mut manifest["config"], &config)?;
    describe(layout, &mut list["manifests"][0], &manifest)?;
    describe(layout, &mut index["manifests"][0], &list)?;
    Ok(fs::write(layout.join("index.json"), index.to_string())?)
}

fn layer(folder: &Path, salt: &str, files: &[Executable<'_>]) -> anyhow::Result<Vec<u8>> {
    let tree = folder.join(format!("layer-{salt}"));
    let mut names = vec!["etc/salt"];
    fs::create_dir_all(tree.join("etc"))?;
    fs::write(tree.join("etc/salt"), salt)?;
    for (place, content) in files {
        let file = tree.join(place);
        fs::create_dir_all(file.parent().context("a file has no folder")?)?;
        fs::write(&file, content)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        names.push(place);
    }
    // The files alone: their folders are the image's, and stay what they are.
    let output = Command::new("tar")
        .arg("-C")
        .arg(&tree)
        .args(["--owner=0", "--group=0", "-cf", "-"])
        .args(&names)
        .output()?;
    ensure!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

fn array(value: &mut Value) -> anyhow::Result<&mut Vec<Value>> {
    value.as_array_mut().context("a list is missing")
}

fn put(layout: &Path, bytes: &[u8]) -> anyhow::Result<String> {
    let hex = hex::encode(Sha256::digest(bytes));
    fs::write(layout.join("blobs/sha256").join(&hex), bytes)?;
    Ok(format!("sha256:{hex}"))
}

fn blob(layout: &Path, descriptor: &Value) -> anyhow::Result<Value> {
    let digest = descriptor["digest"].as_str().context("a descriptor has no digest")?;
    Ok(serde_json::from_slice(&fs::read(layout.join("blobs").join(digest.replace(':', "/")))?)?)
}

/// Write `content`, and let `descriptor` name it.
fn describe(layout: &Path, descriptor: &mut Value, content: &Value) -> anyhow::Result<()> {
    let bytes = content.to_string().into_bytes();
    descriptor["digest"] = json!(put(layout, &bytes)?);
    descriptor["size"] = json!(bytes.len());
    Ok(())
}
