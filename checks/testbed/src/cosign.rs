//! The real cosign, as an oracle and as what people use today: Debian 13's, and cosign 3.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, ensure};
use simulator::sigstore::{Identity, Service};

use crate::{layout::project, scene::Scene};

pub const IDENTITY: &str = r"^https://github\.com/Ad-Astra-Computing/vega-agent/\.github/workflows/publish-builder-image\.yml@refs/tags/[^/]+$";
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";
/// What cosign 3's `sign` writes and its `verify` looks for; Debian 13's knows it as an attestation of this type.
const SIGNATURE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

/// A cosign and what its commands are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cosign {
    /// 2.5, which came with the virtual machine (Debian 12 packages none).
    Debian13,
    /// What publishers sign with today; `checks/cosign` brings it.
    Three,
}

impl Cosign {
    pub const BOTH: [Self; 2] = [Self::Debian13, Self::Three];

    pub fn program(self) -> anyhow::Result<PathBuf> {
        let target = project().join("target");
        if self == Self::Three {
            let program = target.join("cosign/usr/bin/cosign");
            return program
                .is_file()
                .then_some(program)
                .context("there is no cosign 3: type `checks/cosign`");
        }
        let machines = fs::read_dir(target.join("vm")).into_iter().flatten().flatten();
        let found = machines.map(|entry| entry.path().join("cosign")).find(|path| path.is_file());
        found.context("there is no cosign of Debian 13: type `checks/vm/build`")
    }

    /// For a report: Debian's builds do not tell.
    pub fn version(self) -> anyhow::Result<String> {
        match self {
            Self::Debian13 => Ok("2.5 of Debian 13".to_owned()),
            Self::Three => Ok(fs::read_to_string(project().join("target/cosign/version"))?.trim().to_owned()),
        }
    }

    /// The words of its judgement on a pinned image, without the program.
    pub fn verify_arguments(self, scene: &Scene, pinned: &str) -> Vec<String> {
        let command: &[&str] = match self {
            Self::Debian13 => &["verify-attestation", "--type", SIGNATURE_TYPE],
            Self::Three => &["verify"],
        };
        let root = scene.trusted_root().display().to_string();
        let rest = [
            "--new-bundle-format",
            "--allow-http-registry",
            "--trusted-root",
            &root,
            "--certificate-identity-regexp",
            IDENTITY,
            "--certificate-oidc-issuer",
            ISSUER,
            pinned,
        ];
        command.iter().chain(&rest).map(|word| (*word).to_owned()).collect()
    }

    /// Its judgement on the scene's image.
    pub fn verify(self, scene: &Scene) -> anyhow::Result<Output> {
        let mut command = Command::new(self.program()?);
        command.args(self.verify_arguments(scene, &scene.pinned())).envs(environment(scene));
        Ok(command.output()?)
    }

    /// Sign the scene's image as `identity`, keyless, with the scene's own Sigstore as a service.
    pub fn sign(self, scene: &Scene, identity: &Identity) -> anyhow::Result<Output> {
        let service = Service::of(&scene.authority)?;
        let folder = scene.folder.path();
        let (configuration, predicate) = (folder.join("signing_config.json"), folder.join("predicate.json"));
        fs::write(&configuration, service.signing_config())?;
        fs::write(&predicate, "{}")?;
        let mut command = Command::new(self.program()?);
        match self {
            Self::Debian13 => command
                .args(["attest", "--yes", "--new-bundle-format", "--type", SIGNATURE_TYPE, "--predicate"])
                .arg(&predicate)
                .args(["--fulcio-url", service.url(), "--rekor-url", service.url()]),
            Self::Three => command
                .args(["sign", "--yes", "--signing-config"])
                .arg(&configuration)
                .arg("--trusted-root")
                .arg(scene.trusted_root()),
        };
        command.args(["--identity-token", &identity.token(), "--allow-http-registry", &scene.pinned()]);
        Ok(command.envs(environment(scene)).output()?)
    }

    /// Sign the scene's image in cosign 2's form: at the tag `sha256-….sig`.
    pub fn sign_simply(self, scene: &Scene, by: By<'_>) -> anyhow::Result<Output> {
        let service = Service::of(&scene.authority)?;
        let mut command = Command::new(self.program()?);
        command.args(["sign", "--yes", "--allow-http-registry", "--rekor-url", service.url()]);
        if self == Self::Three {
            command.args(["--use-signing-config=false", "--new-bundle-format=false"]);
        }
        match by {
            By::Workflow(identity) => {
                command.args(["--fulcio-url", service.url(), "--identity-token", &identity.token()])
            }
            By::Key(key) => command.arg("--key").arg(key),
        };
        Ok(command.arg(scene.pinned()).envs(environment(scene)).env("COSIGN_PASSWORD", "").output()?)
    }

    /// Sign the scene's image with a key, as a bundle.
    pub fn sign_by_key(self, scene: &Scene, key: &Path) -> anyhow::Result<Output> {
        let service = Service::of(&scene.authority)?;
        let configuration = scene.folder.path().join("signing_config.json");
        fs::write(&configuration, service.signing_config())?;
        let mut command = Command::new(self.program()?);
        command.args(["sign", "--yes", "--allow-http-registry", "--signing-config"]).arg(&configuration);
        command.arg("--trusted-root").arg(scene.trusted_root()).arg("--key").arg(key).arg(scene.pinned());
        Ok(command.envs(environment(scene)).env("COSIGN_PASSWORD", "").output()?)
    }

    /// A key pair in `folder`: `cosign.key` and `cosign.pub`.
    pub fn generate_key(self, folder: &Path) -> anyhow::Result<PathBuf> {
        let mut command = Command::new(self.program()?);
        let output =
            command.arg("generate-key-pair").current_dir(folder).env("COSIGN_PASSWORD", "").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(folder.join("cosign.key"))
    }
}

/// Who signs.
#[derive(Clone, Copy)]
pub enum By<'a> {
    Workflow(&'a Identity),
    /// The private key's file.
    Key(&'a Path),
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
