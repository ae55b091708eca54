//! The real cosign, as an oracle and as what people use today.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::Context as _;

use crate::{layout::project, scene::Scene};

pub const IDENTITY: &str = r"^https://github\.com/Ad-Astra-Computing/vega-agent/\.github/workflows/publish-builder-image\.yml@refs/tags/[^/]+$";
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// cosign from the search path, or the one that came with the virtual machine (Debian 12 packages none).
pub fn program() -> anyhow::Result<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&paths).map(|folder| folder.join("cosign"));
    let machines = fs::read_dir(project().join("target/vm")).into_iter().flatten().flatten();
    let found = on_path.chain(machines.map(|entry| entry.path().join("cosign"))).find(|path| path.is_file());
    found.context("there is no cosign: type `checks/vm/build`")
}

pub fn version() -> anyhow::Result<String> {
    let output = Command::new(program()?).arg("version").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.lines().find_map(|line| line.strip_prefix("GitVersion:"));
    let version = version.context("cosign tells no version")?.trim().trim_start_matches('v');
    // Debian's build leaves its own version out.
    Ok(if version == "devel" { "of Debian 13".to_owned() } else { version.to_owned() })
}

/// What cosign 3's `verify` looks for; cosign 2.5 finds it as an attestation of this type.
pub const SIGNATURE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

/// cosign's judgement on an image by digest.
pub fn verify(scene: &Scene, pinned: &str) -> anyhow::Result<Output> {
    let mut command = Command::new(program()?);
    command
        .args(["verify-attestation", "--type", SIGNATURE_TYPE])
        .args(["--new-bundle-format", "--allow-http-registry", "--trusted-root"])
        .arg(scene.trusted_root())
        .args(["--certificate-identity-regexp", IDENTITY, "--certificate-oidc-issuer", ISSUER, pinned])
        .envs(environment(scene));
    Ok(command.output()?)
}

/// What keeps cosign from asking the public Sigstore, though a trusted root is named.
pub fn environment(scene: &Scene) -> [(&'static str, PathBuf); 4] {
    let folder = scene.folder.path();
    [
        ("HOME", folder.to_owned()),
        ("SIGSTORE_ROOT_FILE", folder.join("fulcio.pem")),
        ("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", folder.join("ctfe.pem")),
        ("SIGSTORE_REKOR_PUBLIC_KEY", folder.join("rekor.pem")),
    ]
}
