//! The runner's root and the files in it.

use std::{env, fs, path::PathBuf};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Where the configuration lies: `RUNNER_ROOT`, as packagers of the runner set it, else beside `bin`. GitHub's own archive,
/// which has a folder `externals` there, heeds no such variable.
///
/// Source: actions/runner, `src/Runner.Common/HostContext.cs`, `GetDirectory`.
pub fn root() -> anyhow::Result<PathBuf> {
    let program = env::current_exe()?;
    let beside = program.ancestors().nth(2).map(PathBuf::from).context("the program lies nowhere")?;
    match env::var_os("RUNNER_ROOT") {
        Some(root) if !beside.join("externals").exists() => Ok(root.into()),
        _ => Ok(beside),
    }
}

/// What `configure` saved.
pub struct Saved {
    pub server: String,
    pub runner: u64,
    pub name: String,
    pub work: String,
    pub ephemeral: bool,
    pub credential: String,
    pub root: PathBuf,
}

impl Saved {
    pub fn is_there() -> bool {
        root().is_ok_and(|root| root.join(".runner").exists())
    }

    /// From the files, which a just-in-time configuration brings in first.
    pub fn load() -> anyhow::Result<Self> {
        let root = root()?;
        if let Ok(encoded) = env::var("ACTIONS_RUNNER_INPUT_JITCONFIG") {
            let files: serde_json::Map<String, Value> = serde_json::from_slice(&STANDARD.decode(encoded)?)?;
            for (name, content) in files {
                fs::write(root.join(name), STANDARD.decode(content.as_str().unwrap_or_default())?)?;
            }
        }
        let read = |name: &str| -> anyhow::Result<Value> {
            let path = root.join(name);
            let text = fs::read(&path).map_err(|_| {
                anyhow::anyhow!("Not configured. Run config.(sh/cmd) to configure the runner.")
            })?;
            serde_json::from_slice(&text).with_context(|| path.display().to_string())
        };
        let (settings, parameters) = (read(".runner")?, read(".credentials_rsaparams")?);
        read(".credentials")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Self {
            server: text(&settings["serverUrl"]),
            runner: settings["agentId"].as_u64().context("agentId")?,
            name: text(&settings["agentName"]),
            work: text(&settings["workFolder"]),
            ephemeral: settings["ephemeral"].as_bool().unwrap_or(false),
            credential: text(&parameters["d"]),
            root,
        })
    }

    /// The variables of `.env` and the search path of `.path`, as the real one reads them at its start.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.root.join(".env")).unwrap_or_default();
        let mut variables: Vec<(String, String)> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if let Ok(path) = fs::read_to_string(self.root.join(".path")) {
            variables.push(("PATH".to_owned(), path.trim().to_owned()));
        }
        variables
    }

    /// An ephemeral runner that did its job is configured no more; an error where its files cannot be removed.
    pub fn remove(&self) -> std::io::Result<()> {
        for name in [".credentials", ".credentials_rsaparams", ".runner"] {
            fs::remove_file(self.root.join(name))?;
        }
        Ok(())
    }
}
