//! Images in the engine's own store: by digest, and compared with what was verified.

use std::{path::Path, thread, time::Duration};

use super::{Cli, Error, Layout, cli::Answer};
use crate::{contract, trust::Verified, value::ImageDigest};

/// What podman sees a layout as.
const DESK_NAME: &str = "vega-builder-layout";
/// podman may not find an image for a moment that another one pulls as well, as the timers of two runners do.
const PULLS: usize = 3;
/// Five seconds, for an image that a container has left only just now.
const REMOVALS: usize = 25;

/// An image in the engine's store.
#[derive(Debug, Clone)]
pub struct LocalImage {
    /// 64 hex digits.
    pub id: String,
    pub layout: Layout,
}

impl Cli {
    /// The image of this digest, when the engine holds it: its id, and what its labels promise.
    pub fn local_image(&self, image_name: &str, digest: &ImageDigest) -> Result<Option<LocalImage>, Error> {
        let pinned = format!("{image_name}@{digest}");
        let format = format!("{{{{.Id}}}} {{{{index .Config.Labels \"{}\"}}}}", contract::LAYOUT_LABEL);
        let arguments = ["image", "inspect", "--format", format.as_str(), pinned.as_str()];
        let output = match self.ask(&arguments, &["no such image", "image not known", "no such object"])? {
            Answer::Is(output) => output,
            Answer::IsNot => return Ok(None),
        };
        let answer = String::from_utf8_lossy(&output.stdout);
        let (id, label) = answer.trim().split_once(' ').unwrap_or((answer.trim(), ""));
        let layout = if label == contract::LAYOUT { Layout::Contract } else { Layout::Foreign };
        Ok(Some(LocalImage { id: id.trim_start_matches("sha256:").to_owned(), layout }))
    }

    /// An image that the engine holds under a verified digest is the one which the verified manifest names,
    /// or an error: somebody may have given its name to another one.
    ///
    /// The engine's id of an image is the digest of its configuration (docker with containerd's image store:
    /// of its manifest).
    pub fn expect_image(
        &self,
        local: &LocalImage,
        image: &Verified<ImageDigest>,
        image_id: &ImageDigest,
        name: &str,
    ) -> Result<(), Error> {
        if [image_id.hex(), image.value().hex(), image.evidence().signed.hex()].contains(&local.id.as_str()) {
            return Ok(());
        }
        Err(Error::WrongImage {
            engine: self.program(),
            digest: format!("{name}@{}", image.value()),
            found: local.id.clone(),
            expected: image_id.hex().to_owned(),
        })
    }

    /// Download an image by digest. It may be called before the signature's check has ended: what is
    /// downloaded does not run, and the download ends when the check fails.
    async fn pull(&self, image_name: &str, digest: &ImageDigest, loopback: bool) -> Result<(), Error> {
        let pinned = format!("{image_name}@{digest}");
        let mut arguments = vec!["pull", "--quiet"];
        if loopback && self.program() == "podman" {
            arguments.push("--tls-verify=false");
        }
        arguments.push(&pinned);
        self.run_long(&arguments).await.map(drop)
    }

    /// Download an image by digest, and what the engine then holds.
    pub async fn obtain(
        &self,
        image_name: &str,
        digest: &ImageDigest,
        loopback: bool,
    ) -> Result<LocalImage, Error> {
        for _ in 0..PULLS {
            self.pull(image_name, digest, loopback).await?;
            // Engines do not wait for the disk, and after a power cut an image that looks whole would have empty files.
            tokio::task::spawn_blocking(nix::unistd::sync).await.ok();
            if let Some(local) = self.local_image(image_name, digest)? {
                return Ok(local);
            }
        }
        Err(Error::Failed {
            command: format!("{} pull", self.program()),
            why: "the engine lost the image that it downloaded".to_owned(),
        })
    }

    /// Take an image from a layout on this machine (a folder, and the image's name in it), and give it its own name, by
    /// which its digest is found again.
    pub async fn load(
        &self,
        (folder, entry): (&Path, Option<String>),
        image_name: &str,
        digest: &ImageDigest,
    ) -> Result<LocalImage, Error> {
        if self.program() != "podman" {
            return Err(Error::NoLayouts { engine: self.program() });
        }
        // podman makes a name of the path, which is none for most of them: so it sees the folder under a plain one.
        let failed = |why: std::io::Error| Error::Failed {
            command: format!("{} pull oci:{}", self.program(), folder.display()),
            why: why.to_string(),
        };
        let desk = tempfile::tempdir().map_err(failed)?;
        let folder = std::path::absolute(folder).map_err(failed)?;
        std::os::unix::fs::symlink(&folder, desk.path().join(DESK_NAME)).map_err(failed)?;
        let entry = entry.map_or_else(String::new, |entry| format!(":{entry}"));
        let source = format!("oci:{DESK_NAME}{entry}");
        let id = self.run_long_in(Some(desk.path()), &["pull", "--quiet", &source]).await?;
        tokio::task::spawn_blocking(nix::unistd::sync).await.ok();
        self.run(&["tag", id.trim(), &format!("{image_name}:{}", digest.short())])?;
        // The name that nobody gave it.
        let _ = self.output(&["untag", id.trim(), &format!("localhost/{DESK_NAME}:latest")]);
        self.local_image(image_name, digest)?.ok_or_else(|| Error::Failed {
            command: format!("{} pull oci:{}", self.program(), folder.display()),
            why: format!("it holds no image of the digest {digest} afterwards"),
        })
    }

    /// A container's image is the one that was verified, or an error.
    pub fn expect_container(
        &self,
        container_image: &str,
        local_id: &str,
        pinned: String,
    ) -> Result<(), Error> {
        if container_image == local_id {
            return Ok(());
        }
        Err(Error::WrongImage {
            engine: self.program(),
            digest: pinned,
            found: container_image.to_owned(),
            expected: local_id.to_owned(),
        })
    }

    /// Give a verified image a name that no registry has, for units that are written before its digest is known.
    pub fn name_image(&self, image_id: &str, name: &str) -> Result<(), Error> {
        self.run(&["tag", image_id, name]).map(drop)
    }

    /// Remove an image, by digest; whether it was there. An error when a container needs it.
    pub fn remove_image(&self, pinned: &str) -> Result<bool, Error> {
        if !self.has_name(pinned)? {
            return Ok(false);
        }
        let removed = self.run(&["rmi", pinned]).map(|_| true);
        if removed.is_ok() || !self.has_name(pinned)? {
            return Ok(removed.is_ok());
        }
        removed
    }

    /// Whether the engine has an image by just this name. podman finds one of the digest by whatever name somebody has it, and
    /// would remove that: what was there already was not downloaded for us.
    fn has_name(&self, pinned: &str) -> Result<bool, Error> {
        let found = self.output(&["image", "inspect", "--format", "{{json .RepoDigests}}", pinned])?;
        if !found.status.success() || !pinned.contains('@') {
            return Ok(found.status.success());
        }
        let names: Vec<String> = serde_json::from_slice(&found.stdout).unwrap_or_default();
        // docker leaves its own registry's name out.
        Ok(names.iter().any(|name| name == pinned || pinned.ends_with(&format!("/{name}"))))
    }

    /// The same for one of which a container was made that has only just gone: an engine may still be tidying up behind it.
    pub fn remove_image_patiently(&self, pinned: &str) -> Result<bool, Error> {
        for _ in 1..REMOVALS {
            let removed = self.remove_image(pinned);
            if removed.is_ok() {
                return removed;
            }
            thread::sleep(Duration::from_millis(200));
        }
        self.remove_image(pinned)
    }
}
