//! `cache use`: have this host's Nix ask a cache.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use harmonia_store_core::signature::PublicKey;

use crate::cache::{place::Place, vega};

/// Have this host's Nix ask a cache
#[derive(Debug, clap::Args)]
pub struct CacheCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a cache and its key into nix.conf
    ///
    /// The cache is asked first: an address that is none would cost every later build its time. With root's rights it is
    /// /etc/nix/nix.conf, else your own, which Nix's daemon heeds only for trusted users. What is there already stays.
    #[command(after_help = "\
Examples:
  vega-builder cache use https://cache.example.org octo-org-1:JMOklPoimWJmRLllqRMtp5z+ZxUf3ELeYAzwkJfbgkc=
  vega-builder cache use https://vega-cache.dev/tenant/octo-org/heavy-builds")]
    Use {
        /// The cache, as `push` tells it
        url: String,
        /// Its public key; a namespace at Vega tells its own
        key: Option<PublicKey>,
        /// Another file than Nix's usual one
        #[arg(long, value_name = "FILE")]
        conf: Option<PathBuf>,
    },
}

impl CacheCommand {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let Verb::Use { url, key, conf } = self.verb;
        let place = Place::at(&url, None)?;
        let info = place.get("nix-cache-info").await?;
        if info.is_none_or(|text| !String::from_utf8_lossy(&text).contains("StoreDir:")) {
            bail!("{} is no binary cache: it has no nix-cache-info", place.shown);
        }
        let substituter = place.substituter();
        let key = match key {
            Some(key) => key.to_string(),
            None => vega::public_key_of(&substituter).await.with_context(|| {
                format!("{substituter} does not tell its public key: give it as the second word")
            })?,
        };
        let conf = conf.map_or_else(usual_file, Ok)?;
        let changed =
            add(&conf, &[("extra-substituters", &substituter), ("extra-trusted-public-keys", &key)])?;
        let conf = conf.display();
        if changed {
            anstream::println!(
                "{conf} has {substituter} and {key} now; a daemon that runs reads it at its next start"
            );
        } else {
            anstream::println!("{conf} has {substituter} and {key} already");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn usual_file() -> anyhow::Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok("/etc/nix/nix.conf".into());
    }
    let home = std::env::home_dir().context("there is no home folder (HOME): name the file with --conf")?;
    let own = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Ok(own.unwrap_or_else(|| home.join(".config")).join("nix/nix.conf"))
}

/// Add what is missing, whole or not at all; whether something was.
fn add(conf: &Path, wanted: &[(&str, &str)]) -> anyhow::Result<bool> {
    let failed = || format!("{} cannot be changed", conf.display());
    if fs::canonicalize(conf).is_ok_and(|real| real.starts_with("/nix/store")) {
        let lines: Vec<_> = wanted.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        bail!(
            "{} is made by this system's configuration: write into that\n{}",
            conf.display(),
            lines.join("\n")
        );
    }
    let before = match fs::read_to_string(conf) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.with_context(failed)?,
    };
    let mut text = before.clone();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, value) in wanted.iter().filter(|(name, value)| !has(&before, name, value)) {
        let _ = writeln!(text, "{name} = {value}");
    }
    if text == before {
        return Ok(false);
    }
    let write = || -> io::Result<()> {
        let real = fs::canonicalize(conf).unwrap_or_else(|_| conf.to_owned());
        let folder = real.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let mode = fs::metadata(&real).map_or(0o644, |metadata| metadata.permissions().mode() & 0o777);
        let beside =
            tempfile::Builder::new().permissions(fs::Permissions::from_mode(mode)).tempfile_in(folder)?;
        fs::write(beside.path(), &text)?;
        beside.as_file().sync_all()?;
        beside.persist(real).map_err(|error| error.error).map(drop)
    };
    write().with_context(failed)?;
    Ok(true)
}

/// Whether a setting names this value already, with or without `extra-`.
fn has(text: &str, name: &str, value: &str) -> bool {
    let own = name.trim_start_matches("extra-");
    let lines = text.lines().filter_map(|line| line.split('#').next()?.split_once('='));
    let mut values = lines.filter(|(key, _)| key.trim().trim_start_matches("extra-") == own);
    values.any(|(_, values)| values.split_whitespace().any(|known| known == value))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::add;

    const WANTED: [(&str, &str); 2] =
        [("extra-substituters", "https://a"), ("extra-trusted-public-keys", "a-1:k")];

    #[test]
    fn what_is_there_stays_and_the_rest_comes_once() {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("nix/nix.conf");
        assert!(add(&conf, &WANTED).unwrap() && !add(&conf, &WANTED).unwrap());
        let text = fs::read_to_string(&conf).unwrap();
        assert_eq!(text, "extra-substituters = https://a\nextra-trusted-public-keys = a-1:k\n");
        fs::write(&conf, "sandbox = true # https://a\nsubstituters = https://b https://a").unwrap();
        assert!(add(&conf, &WANTED).unwrap());
        let text = fs::read_to_string(&conf).unwrap();
        assert!(text.ends_with("https://b https://a\nextra-trusted-public-keys = a-1:k\n"), "{text}");
    }
}
