use std::{fmt, fs, path::Path};

use super::Error;

const PLACE: &str = "/etc/nix/nix.conf";

/// nix.conf, as far as the image decides it.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// `true`, `relaxed` or `false`.
    pub sandbox: &'static str,
    pub max_jobs: u32,
    pub cores: u32,
    pub extra_substituters: String,
    pub extra_trusted_public_keys: String,
}

/// The public cache and Vega's, with their keys.
const SUBSTITUTERS: &str = "https://cache.nixos.org https://vega-cache.dev";
const PUBLIC_KEYS: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY= \
                           vega-cache-1:cPagS1g69NQGwlBCyTTeKav/NhlN8a7ixjuj2uLOkHrQ=";

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# written by vega-builder at every boot")?;
        writeln!(f, "build-users-group = nixbld")?;
        writeln!(f, "sandbox = {}", self.sandbox)?;
        // A build that cannot be sandboxed fails; it does not quietly run bare.
        writeln!(f, "sandbox-fallback = false")?;
        writeln!(f, "max-jobs = {}", self.max_jobs)?;
        writeln!(f, "cores = {}", self.cores)?;
        writeln!(f, "substituters = {SUBSTITUTERS} {}", self.extra_substituters)?;
        writeln!(f, "trusted-public-keys = {PUBLIC_KEYS} {}", self.extra_trusted_public_keys)?;
        // A trusted user could switch the sandbox off: only root is one.
        writeln!(f, "trusted-users = root")?;
        writeln!(f, "allowed-users = root runner")?;
        writeln!(f, "experimental-features = nix-command flakes")
    }
}

impl Configuration {
    pub fn write(&self) -> Result<(), Error> {
        let path = Path::new(PLACE);
        fs::create_dir_all("/etc/nix").map_err(|why| Error::file("/etc/nix", why))?;
        fs::write(path, self.to_string()).map_err(|why| Error::file(path, why))
    }
}

#[cfg(test)]
mod tests {
    use super::Configuration;

    #[test]
    fn the_runner_is_no_trusted_user_and_the_sandbox_has_no_fallback() {
        let text = Configuration {
            sandbox: "true",
            max_jobs: 2,
            cores: 0,
            extra_substituters: "https://a".to_owned(),
            extra_trusted_public_keys: "a-1:k".to_owned(),
        }
        .to_string();
        for line in [
            "sandbox = true",
            "sandbox-fallback = false",
            "trusted-users = root",
            "substituters = https://cache.nixos.org https://vega-cache.dev https://a",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
    }
}
