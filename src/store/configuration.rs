use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use super::{Error, Reserve};
use crate::{contract, host::Folders};

const PLACE: &str = "/etc/nix/nix.conf";
/// Where a host's own files of /etc/nix are, for those that it includes.
pub const HOST: &str = "/run/vega-builder/nix";

/// nix.conf, as far as the image decides it.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// `true`, `relaxed` or `false`.
    pub sandbox: &'static str,
    /// Whether a build that cannot be sandboxed runs bare; else it fails.
    pub fallback: bool,
    pub max_jobs: u32,
    pub cores: u32,
    pub extra_substituters: String,
    pub extra_trusted_public_keys: String,
    /// Whether every build is queued for its upload.
    pub queues: bool,
    /// How much of the disk stays free.
    pub reserve: Reserve,
    /// Who may build, beside root.
    pub user: String,
    /// Of a host, which has a configuration of its own, to which this is added: the runner's folder there.
    pub on_host: Option<PathBuf>,
}

/// The public cache and Vega's, with their keys.
const SUBSTITUTERS: &str = "https://cache.nixos.org https://vega-cache.dev";
const PUBLIC_KEYS: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY= \
                           vega-cache-1:cPagS1g69NQGwlBCyTTeKav/NhlN8a7ixuj2uLOkHrQ=";

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# written by vega-builder at every boot")?;
        // Whatever a host says of these.
        writeln!(f, "build-users-group = nixbld")?;
        writeln!(f, "require-sigs = true")?;
        writeln!(f, "sandbox = {}", self.sandbox)?;
        // Where the sandbox was proven, a build that cannot have it fails: it does not quietly run bare.
        writeln!(f, "sandbox-fallback = {}", self.fallback)?;
        writeln!(f, "max-jobs = {}", self.max_jobs)?;
        writeln!(f, "cores = {}", self.cores)?;
        let (substituters, keys) = (&self.extra_substituters, &self.extra_trusted_public_keys);
        if self.on_host.is_some() {
            // Whom everybody's store believes is for the host to say, and for who set this runner up.
            writeln!(f, "extra-substituters = {substituters}")?;
            writeln!(f, "extra-trusted-public-keys = {keys}")?;
            writeln!(f, "extra-experimental-features = nix-command flakes")?;
            // Nor is anything of it collected because of a runner.
            writeln!(f, "min-free = 0")?;
        } else {
            writeln!(f, "substituters = {SUBSTITUTERS} {substituters}")?;
            writeln!(f, "trusted-public-keys = {PUBLIC_KEYS} {keys}")?;
            writeln!(f, "experimental-features = nix-command flakes")?;
            // A build that fills the disk collects garbage first, instead of failing.
            let (min_free, max_free) = self.reserve.of_nix(Path::new(contract::STORE_MOUNT));
            writeln!(f, "min-free = {min_free}")?;
            writeln!(f, "max-free = {max_free}")?;
        }
        // A trusted user could switch the sandbox off: only root is one.
        writeln!(f, "trusted-users = root")?;
        writeln!(f, "allowed-users = root {}", self.user)?;
        // None of the host's in its place: it would push what is not its own.
        writeln!(f, "post-build-hook = {}", if self.queues { contract::POST_BUILD_HOOK } else { "" })
    }
}

impl Configuration {
    /// Whether builds run in the sandbox, by what was written at this boot.
    pub fn has_sandbox() -> bool {
        // On a host this is asked by the daemon's hook, where the host's own file is in its usual place.
        let place =
            env::var_os("NIX_CONF_DIR").map_or_else(|| PLACE.into(), |it| Path::new(&it).join("nix.conf"));
        fs::read_to_string(place).is_ok_and(|text| text.lines().any(|line| line == "sandbox = true"))
    }

    pub fn write(&self) -> Result<(), Error> {
        let path = Path::new(PLACE);
        fs::create_dir_all("/etc/nix").map_err(|why| Error::file("/etc/nix", why))?;
        let Some(folder) = &self.on_host else {
            return fs::write(path, self.to_string()).map_err(|why| Error::file(path, why));
        };
        // What is said here counts more than what is included. The daemon sees the host's files where they are.
        let daemon = Folders(folder.clone()).nix().join("nix.conf");
        for (place, host) in [(path, HOST), (daemon.as_path(), "/etc/nix")] {
            let text = format!("!include {host}/nix.conf\n{self}");
            fs::write(place, text).map_err(|why| Error::file(place, why))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use harmonia_store_core::signature::PublicKey;

    use super::{Configuration, PUBLIC_KEYS};
    use crate::{store::Reserve, value::ByteSize};

    #[test]
    fn every_key_is_one_or_nix_would_believe_no_cache_at_all() {
        assert_eq!(PUBLIC_KEYS.split_whitespace().count(), 2);
        for key in PUBLIC_KEYS.split_whitespace() {
            assert!(key.parse::<PublicKey>().is_ok(), "{key}");
        }
    }

    #[test]
    fn the_runner_is_no_trusted_user_and_the_sandbox_has_no_fallback() {
        let configuration = Configuration {
            sandbox: "true",
            fallback: false,
            max_jobs: 2,
            cores: 0,
            extra_substituters: "https://a".to_owned(),
            extra_trusted_public_keys: "a-1:k".to_owned(),
            queues: true,
            reserve: Reserve::of(Some(ByteSize::gib(2))),
            user: "runner".to_owned(),
            on_host: None,
        };
        let text = configuration.to_string();
        for line in [
            "sandbox = true",
            "sandbox-fallback = false",
            "trusted-users = root",
            "post-build-hook = /run/vega-builder/post-build-hook",
            "min-free = 2147483648",
            "max-free = 10737418240",
            "substituters = https://cache.nixos.org https://vega-cache.dev https://a",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        let text = Configuration { on_host: Some("/x".into()), queues: false, ..configuration }.to_string();
        for line in
            ["trusted-users = root", "allowed-users = root runner", "post-build-hook = ", "sandbox = true"]
        {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(text.contains("min-free = 0\n") && text.contains("require-sigs = true\n"), "{text}");
        assert!(!text.contains("vega-cache"), "{text}");
    }
}
