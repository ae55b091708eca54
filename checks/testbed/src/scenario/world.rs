use std::{
    cell::OnceCell,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use simulator::{
    github::Server,
    sigstore::{Authority, Identity, attach_as_cosign},
};

use crate::{
    registry::Registry,
    salted::{MUTE, salted, with_entrypoint},
    scene::{IMAGE, LOGIN},
};

/// Fixed, because a NixOS configuration names them before anything runs.
const GITHUB_PORT: u16 = 8090;
const REGISTRY_PORT: u16 = 5000;

/// What is around the machine's runners: GitHub, a registry, and who signs.
pub struct World {
    pub github: Server,
    /// Tokens that were minted before this life of the machine.
    pub minted_before: usize,
    folder: PathBuf,
    life: usize,
    /// The runner image as an OCI layout.
    image: PathBuf,
    shop: OnceCell<Shop>,
}

/// The registry and the signatures; a machine that only comes back needs neither.
struct Shop {
    registry: Registry,
    authority: Authority,
}

/// The images that scenarios speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    First,
    /// Signed as well; it has a file /etc/salt of its own.
    Next,
    Unsigned,
    /// Signed as well; it never listens.
    Mute,
}

impl Image {
    fn salt(self) -> Option<&'static str> {
        match self {
            Self::First => None,
            Self::Next => Some("next"),
            Self::Unsigned => Some("unsigned"),
            Self::Mute => Some("mute"),
        }
    }
}

impl World {
    /// The world of one life of the machine; what outlives it is in `folder`.
    pub fn new(folder: &Path, image: &Path, life: usize) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let github = Server::start_at(GITHUB_PORT, Some(folder.join("github.json")))?;
        github.credential(LOGIN, true);
        Ok(Self {
            minted_before: github.minted(),
            github,
            folder: folder.to_owned(),
            life,
            image: image.to_owned(),
            shop: OnceCell::new(),
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The private Sigstore's root, which a runner of this life trusts even after the next boot.
    pub fn trusted_root(&self) -> PathBuf {
        self.folder.join(format!("trusted_root-{}.json", self.life))
    }

    fn shop(&self) -> anyhow::Result<&Shop> {
        if let Some(shop) = self.shop.get() {
            return Ok(shop);
        }
        let registry = Registry::start_on(&self.folder, REGISTRY_PORT)?;
        let authority = Authority::new()?;
        fs::write(self.trusted_root(), authority.trusted_root()?)?;
        Ok(self.shop.get_or_init(|| Shop { registry, authority }))
    }

    /// Push an image under a tag, sign it when it is one that is signed, and give its name.
    pub fn push(&self, image: Image, tag: &str) -> anyhow::Result<String> {
        let shop = self.shop()?;
        let layout = match image.salt() {
            None => self.image.clone(),
            Some(salt) => {
                let made = self.folder.join(format!("salted-{salt}"));
                if made.exists() {
                    made
                } else if image == Image::Mute {
                    with_entrypoint(&self.image, &self.folder, salt, &MUTE)?.0
                } else {
                    salted(&self.image, &self.folder, salt)?.0
                }
            }
        };
        let digest = shop.registry.push(&layout, IMAGE, tag)?;
        if image != Image::Unsigned {
            let bundle = shop.authority.sign(&digest, &Identity::vega())?;
            attach_as_cosign(&shop.registry.address, IMAGE, &digest, &bundle).context("the signature")?;
        }
        Ok(format!("{}/{IMAGE}:{tag}", shop.registry.address))
    }
}
