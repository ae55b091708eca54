//! A runner that a file declares: everything that its unit has to know, in the configuration file's own keys.
//!
//! `install` writes such a file, and so does the NixOS module. It stands alone: neither the environment nor another
//! file has a say in what a unit starts at night.

use std::path::Path;

use toml::{Table, Value};

use super::{
    file,
    host::Host,
    layer::{Error, Layers, Origin},
    settings::Settings,
    trust::PublisherSettings,
};
use crate::value::{RunnerName, Scope};

/// The unit's options hold their figures: a file without them would leave us to guess.
const DEMANDED: [&str; 3] = ["caps.memory", "caps.cpus", "caps.pids"];

impl Settings {
    /// What the file declares of the runner of this name.
    pub fn declared(path: &Path, name: &RunnerName, host: &Host) -> Result<Self, Error> {
        let layer = file::read(path)?;
        let origin = |key: &str| Origin::File { path: path.to_owned(), line: 1, key: key.to_owned() };
        if let Some(missing) = DEMANDED.into_iter().find(|key| !layer.contains_key(key)) {
            return Err(Error::value(&origin(missing), "it is missing, and a declared runner's caps are"));
        }
        if let Some(given) = layer.get("name").filter(|given| given.text != name.as_str()) {
            let why = format!("'{}' is not the file's own name, {name}", given.text);
            return Err(Error::value(&given.origin, why));
        }
        let settings = Self::merge(&Layers(vec![layer]), host)?;
        Ok(Self { name: name.clone(), ..settings })
    }

    /// The file that declares these settings.
    pub fn declaration(&self) -> String {
        let mut file = Table::new();
        let mut put = |key: &str, value: Value| {
            let (section, key) =
                key.split_once('.').map_or((None, key), |(section, key)| (Some(section), key));
            let table = match section {
                None => &mut file,
                Some(section) => {
                    let table = file.entry(section).or_insert_with(|| Table::new().into());
                    let Some(table) = table.as_table_mut() else { return };
                    table
                }
            };
            table.insert(key.to_owned(), value);
        };
        let text = |text: &dyn std::fmt::Display| Value::String(text.to_string());
        match &self.scope {
            Scope::Repository(repository) => put("repository", text(repository)),
            Scope::Organization(organization) => put("organization", text(organization)),
        }
        put("labels", text(&self.labels));
        put("image", text(&self.image));
        put("engine", text(&self.engine));
        put("patience", text(&self.patience));
        put("ephemeral", Value::Integer(self.ephemeral.map_or(0, u32::from).into()));
        put("caps.memory", text(&self.caps.memory.0));
        put("caps.cpus", text(&self.caps.cpus));
        put("caps.pids", Value::Integer(self.caps.pids.into()));
        put("github.url", text(&self.github.server));
        put("nix.sandbox", text(&self.nix.sandbox));
        put("nix.max-jobs", Value::Integer(self.nix.max_jobs.into()));
        put("nix.cores", Value::Integer(self.nix.cores.into()));
        if self.ephemeral.is_some() {
            put("nix.store", text(&self.nix.store));
        }
        if let Some(disk) = self.disk {
            put("caps.disk", text(&disk.0));
        }
        if let Some(min_free) = self.min_free {
            put("caps.min-free", text(&min_free.0));
        }
        if let Some(base) = self.userns_base {
            put("userns-base", Value::Integer(base.into()));
        }
        let path = |path: &Path| Value::String(path.display().to_string());
        match &self.trust.publisher {
            Some(PublisherSettings::Workflow { identity, issuer }) => {
                put("trust.identity", text(identity));
                if let Some(issuer) = issuer {
                    put("trust.issuer", text(issuer));
                }
            }
            Some(PublisherSettings::Key(file)) => put("trust.key", path(file)),
            None => {}
        }
        let cache = self.cache.as_ref();
        if let Some(cache) = cache {
            put("cache.to", text(&cache.to));
            put("cache.upstreams", text(&cache.upstreams.join(" ")));
            put("cache.compression", text(&cache.compression));
            put("cache.allow-secrets", text(&cache.allow_secrets.join(" ")));
            put("cache.wait", text(&cache.wait));
        }
        if let Some(update) = &self.update {
            put("update.at", text(&update.at));
            put("update.within", text(&update.within));
        }
        let (key_file, login_file) =
            cache.map(|cache| (cache.key_file.clone(), cache.login_file.clone())).unzip();
        let files = [
            ("cache.key-file", &key_file.flatten()),
            ("cache.login-file", &login_file.flatten()),
            ("host", &self.host),
            ("image-file", &self.image_file),
            ("trust.policy", &self.trust.policy),
            ("trust.trusted-root", &self.trust.trusted_root),
            ("github.token-file", &self.github.token_file),
        ];
        if let Some(app) = &self.github.app {
            put("github.app-id", text(&app.id));
            put("github.app-key-file", path(&app.key_file));
        }
        for (key, file) in files {
            if let Some(file) = file {
                put(key, path(file));
            }
        }
        let more = [
            ("network", self.network.as_deref().unwrap_or_default()),
            ("runner-group", self.group.as_deref().unwrap_or_default()),
            ("nix.extra-substituters", &self.nix.extra_substituters),
            ("nix.extra-trusted-public-keys", &self.nix.extra_trusted_public_keys),
        ];
        for (key, value) in more.into_iter().filter(|(_, value)| !value.is_empty()) {
            put(key, text(&value));
        }
        file.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Settings;
    use crate::{
        config::{CacheSettings, Host, UpdateSettings, Wait},
        value::ByteSize,
    };

    const HOST: Host = Host { memory: ByteSize::gib(64), processors: 16, pids: 32768 };

    fn declared(text: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vega-x.toml");
        fs::write(&file, text).unwrap();
        Settings::declared(&file, &"vega-x".parse().unwrap(), &HOST).map_err(|error| error.to_string())
    }

    const LEAST: &str = "repository = \"octo/heavy\"\n[caps]\nmemory = \"2g\"\ncpus = 1.5\npids = 512\n";

    #[test]
    fn a_declaration_is_read_as_it_was_written() {
        let mut settings = declared(LEAST).unwrap();
        settings.network = Some("host".to_owned());
        settings.userns_base = Some(1 << 20);
        settings.ephemeral = std::num::NonZeroU32::new(2);
        settings.disk = Some(ByteSize::gib(50));
        settings.min_free = Some(ByteSize::gib(5));
        settings.nix.extra_substituters = "https://a https://b".to_owned();
        settings.github.token_file = Some("/etc/token".into());
        settings.cache = Some(CacheSettings {
            to: "s3://bucket/x?region=eu".to_owned(),
            key_file: Some("/etc/key".into()),
            login_file: Some("/etc/login".into()),
            upstreams: vec!["https://a".to_owned(), "https://b".to_owned()],
            compression: "xz".to_owned(),
            wait: Wait::Job,
            allow_secrets: vec!["jwt:x".to_owned()],
        });
        settings.update =
            Some(UpdateSettings { at: "Sun 03:00".parse().unwrap(), within: "90m".parse().unwrap() });
        let mut again = declared(&settings.declaration()).unwrap();
        again.caps_origin.clone_from(&settings.caps_origin);
        assert_eq!(format!("{again:?}"), format!("{settings:?}"));
    }

    #[test]
    fn an_organisations_runner_is_read_as_it_was_written() {
        let text = "organization = \"octo\"\nrunner-group = \"heavy builds\"\n[caps]\nmemory = \"2g\"\ncpus = 1\npids = 64\n";
        let settings = declared(text).unwrap();
        assert_eq!(
            (settings.scope.to_string().as_str(), settings.group.as_deref()),
            ("octo", Some("heavy builds"))
        );
        let again = declared(&settings.declaration()).unwrap();
        assert_eq!((again.scope, again.group), (settings.scope, settings.group));
        let both = declared(&format!("repository = \"octo/heavy\"\n{text}")).unwrap_err();
        assert!(both.contains("leave one of them out"), "{both}");
        let group = declared(&LEAST.replace("[caps]", "runner-group = \"x\"\n[caps]")).unwrap_err();
        assert!(group.contains("a repository has no groups"), "{group}");
    }

    #[test]
    fn caps_that_are_not_declared_are_not_guessed() {
        let error = declared("repository = \"octo/heavy\"\n[caps]\nmemory = \"2g\"\ncpus = 1\n").unwrap_err();
        assert!(error.contains("vega-x.toml") && error.contains("caps.pids"), "{error}");
    }

    #[test]
    fn a_window_without_a_time_or_without_a_length_is_refused() {
        let window =
            |text: &str| declared(&format!("{LEAST}[update]\n{text}")).map(|settings| settings.update);
        assert!(window("within = \"1h\"\n").unwrap_err().contains("say when with --update-at"));
        assert!(window("at = \"daily\"\nwithin = \"0m\"\n").unwrap_err().contains("a window of no length"));
        let line = window("at = \"daily\\n[Service]\"\n").unwrap_err();
        assert!(
            line.contains("vega-x.toml:7: update.at: 'daily\\n[Service]' is no calendar event"),
            "{line}"
        );
        assert_eq!(window("at = \"daily\"\n").unwrap().unwrap().within.to_string(), "2h");
    }

    #[test]
    fn a_name_that_is_not_the_files_is_refused() {
        assert!(declared(&format!("name = \"vega-y\"\n{LEAST}")).unwrap_err().contains("vega-y"));
        declared(&format!("name = \"vega-x\"\n{LEAST}")).unwrap();
    }
}
