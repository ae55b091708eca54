//! The settings by name: one table for the flags, the variables and the keys of the file.

use std::env;

use super::layer::{Given, Layer, Origin};

/// A setting's three names.
pub struct Key {
    pub path: &'static str,
    pub flag: &'static str,
    pub variable: &'static str,
}

const fn key(path: &'static str, flag: &'static str, variable: &'static str) -> Key {
    Key { path, flag, variable }
}

pub const KEYS: &[Key] = &[
    key("repository", "OWNER/REPO", "VEGA_BUILDER_REPOSITORY"),
    key("organization", "--organization", "VEGA_BUILDER_ORGANIZATION"),
    key("runner-group", "--runner-group", "VEGA_BUILDER_RUNNER_GROUP"),
    key("name", "--name", "VEGA_BUILDER_NAME"),
    key("labels", "--labels", "VEGA_BUILDER_LABELS"),
    key("image", "--image", "VEGA_BUILDER_IMAGE"),
    key("image-file", "--image-file", "VEGA_BUILDER_IMAGE_FILE"),
    key("engine", "--engine", "VEGA_BUILDER_ENGINE"),
    key("host", "--host", "VEGA_BUILDER_HOST"),
    key("network", "--network", "VEGA_BUILDER_NETWORK"),
    key("caps.memory", "--memory", "VEGA_BUILDER_MEMORY"),
    key("caps.cpus", "--cpus", "VEGA_BUILDER_CPUS"),
    key("caps.pids", "--pids", "VEGA_BUILDER_PIDS"),
    key("caps.disk", "--disk", "VEGA_BUILDER_DISK"),
    key("caps.min-free", "--min-free", "VEGA_BUILDER_MIN_FREE"),
    key("patience", "--patience", "VEGA_BUILDER_PATIENCE"),
    key("ephemeral", "--ephemeral", "VEGA_BUILDER_EPHEMERAL"),
    key("userns-base", "--userns-base", "VEGA_BUILDER_USERNS_BASE"),
    key("trust.identity", "--identity", "VEGA_BUILDER_IDENTITY"),
    key("trust.issuer", "--issuer", "VEGA_BUILDER_ISSUER"),
    key("trust.key", "--key", "VEGA_BUILDER_KEY"),
    key("trust.policy", "--trust-policy", "VEGA_BUILDER_TRUST_POLICY"),
    key("trust.trusted-root", "--trusted-root", "VEGA_BUILDER_TRUSTED_ROOT"),
    key("github.url", "--github-url", "VEGA_BUILDER_GITHUB_URL"),
    key("github.token-file", "--token-file", "VEGA_BUILDER_TOKEN_FILE"),
    key("github.app-id", "--app-id", "VEGA_BUILDER_APP_ID"),
    key("github.app-key-file", "--app-key-file", "VEGA_BUILDER_APP_KEY_FILE"),
    key("nix.sandbox", "--sandbox", "VEGA_BUILDER_SANDBOX"),
    key("nix.max-jobs", "--max-jobs", "VEGA_BUILDER_MAX_JOBS"),
    key("nix.cores", "--cores", "VEGA_BUILDER_CORES"),
    key("nix.extra-substituters", "--extra-substituters", "VEGA_BUILDER_EXTRA_SUBSTITUTERS"),
    key(
        "nix.extra-trusted-public-keys",
        "--extra-trusted-public-keys",
        "VEGA_BUILDER_EXTRA_TRUSTED_PUBLIC_KEYS",
    ),
    key("nix.store", "--store", "VEGA_BUILDER_STORE"),
    key("cache.to", "--cache-to", "VEGA_BUILDER_CACHE_TO"),
    key("cache.key-file", "--cache-key", "VEGA_BUILDER_CACHE_KEY"),
    key("cache.login-file", "--cache-login", "VEGA_BUILDER_CACHE_LOGIN"),
    key("cache.upstreams", "--cache-upstreams", "VEGA_BUILDER_CACHE_UPSTREAMS"),
    key("cache.compression", "--cache-compression", "VEGA_BUILDER_CACHE_COMPRESSION"),
    key("cache.allow-secrets", "--cache-allow-secrets", "VEGA_BUILDER_CACHE_ALLOW_SECRETS"),
    key("cache.wait", "--cache-wait", "VEGA_BUILDER_CACHE_WAIT"),
    key("update.at", "--update-at", "VEGA_BUILDER_UPDATE_AT"),
    key("update.within", "--update-within", "VEGA_BUILDER_UPDATE_WITHIN"),
];

/// Given flags, by their keys.
pub(super) fn flags(
    given: impl IntoIterator<Item = (&'static str, Option<String>)>,
) -> impl Iterator<Item = (&'static str, Given)> {
    let flag = |name| KEYS.iter().find(|known| known.path == name).map_or("", |known| known.flag);
    given
        .into_iter()
        .filter_map(move |(path, text)| Some((path, Given { text: text?, origin: Origin::Flag(flag(path)) })))
}

/// The environment as a layer; an empty variable counts as not given.
pub fn environment() -> Layer {
    KEYS.iter()
        .filter_map(|known| {
            let text = env::var(known.variable).ok().filter(|text| !text.is_empty())?;
            Some((known.path, Given { text, origin: Origin::Variable(known.variable) }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::KEYS;
    use crate::config::SettingsArgs;

    #[test]
    fn every_setting_has_a_flag_a_variable_and_a_key_of_one_name() {
        let command = SettingsArgs::augment_args(Command::new("test"));
        let flags: Vec<_> =
            command.get_arguments().filter_map(|a| a.get_long()).map(|l| format!("--{l}")).collect();
        for known in KEYS.iter().filter(|known| known.flag.starts_with("--")) {
            assert!(flags.iter().any(|flag| flag == known.flag), "{} has no flag", known.path);
            let from_flag = known.flag[2..].to_uppercase().replace('-', "_");
            assert_eq!(known.variable, format!("VEGA_BUILDER_{from_flag}"));
        }
        assert_eq!(flags.len(), KEYS.len(), "--config has no key, the repository has no flag");
    }
}
