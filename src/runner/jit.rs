//! A just-in-time configuration: GitHub's registration of a runner for one job, as `generate-jitconfig` gives it.
//!
//! Base64 of a JSON object of file names, each with the base64 of its content. Source: actions/runner, `Runner.cs`, what
//! `--jitconfig` does; and `RunnerSettings` in `ConfigurationStore.cs`.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use zeroize::Zeroizing;

use super::vault::FILES;
use crate::contract::env;

#[derive(Debug, thiserror::Error)]
pub enum JitError {
    #[error("the just-in-time configuration cannot be read ({0}); ask GitHub for another one")]
    Unreadable(&'static str),
    #[error("the just-in-time configuration has a file of its own, '{0}', and is not used")]
    Stranger(String),
    #[error("the just-in-time configuration is for {0}, which is no repository and no organisation")]
    Nowhere(String),
}

/// Its files, in our memory alone.
pub struct JitConfig {
    files: BTreeMap<&'static str, Zeroizing<Vec<u8>>>,
    /// What the image's own variables would say.
    variables: BTreeMap<&'static str, String>,
}

impl JitConfig {
    pub fn parse(text: &str) -> Result<Self, JitError> {
        let decoded = |text: &str| STANDARD.decode(text.trim()).map(Zeroizing::new);
        let outer = decoded(text).map_err(|_| JitError::Unreadable("it is not base64"))?;
        let outer: BTreeMap<String, Zeroizing<String>> =
            serde_json::from_slice(&outer).map_err(|_| JitError::Unreadable("it is no object of files"))?;
        let mut files = BTreeMap::new();
        for (name, content) in outer {
            // A name with a path in it would be written elsewhere.
            let Some(known) = FILES.into_iter().find(|known| *known == name) else {
                return Err(JitError::Stranger(name.escape_default().to_string()));
            };
            let content =
                decoded(&content).map_err(|_| JitError::Unreadable("a file in it is not base64"))?;
            files.insert(known, content);
        }
        let settings = files.get(FILES[0]).ok_or(JitError::Unreadable("it has no .runner"))?;
        if !files.contains_key(FILES[1]) {
            return Err(JitError::Unreadable("it has no .credentials"));
        }
        let variables = variables(settings.strip_prefix(b"\xef\xbb\xbf").unwrap_or(settings))?;
        Ok(Self { files, variables })
    }

    /// A variable of the image's contract, as the configuration has it: for whom the runner is, is GitHub's to say.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    pub fn files(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.files.iter().map(|(name, content)| (*name, content.as_slice()))
    }
}

/// GitHub writes the names in one case, its runner in another.
fn variables(settings: &[u8]) -> Result<BTreeMap<&'static str, String>, JitError> {
    let Ok(Value::Object(settings)) = serde_json::from_slice(settings) else {
        return Err(JitError::Unreadable("its .runner is no object"));
    };
    let text = |name: &str| {
        let (_, value) = settings.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        value.as_str().map(str::to_owned)
    };
    let mut variables = BTreeMap::from([(env::EPHEMERAL, "true".to_owned())]);
    if let Some(name) = text("agentName") {
        variables.insert(env::RUNNER_NAME, name);
    }
    let Some(url) = text("gitHubUrl") else { return Ok(variables) };
    let nowhere = || JitError::Nowhere(url.escape_default().to_string());
    let parsed: url::Url = url.parse().map_err(|_| nowhere())?;
    let parts: Vec<&str> = parsed.path().split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [organization] => drop(variables.insert(env::ORGANIZATION, (*organization).to_owned())),
        [owner, repository] if !owner.eq_ignore_ascii_case("enterprises") => {
            // One that the image was started with does not count beside it.
            variables.insert(env::ORGANIZATION, String::new());
            variables.insert(env::OWNER, (*owner).to_owned());
            variables.insert(env::REPOSITORY, (*repository).to_owned());
        }
        _ => return Err(nowhere()),
    }
    variables.insert(env::SERVER_URL, parsed.origin().ascii_serialization());
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde_json::json;

    use super::JitConfig;
    use crate::runner::Environment;

    fn config(files: &[(&str, &str)]) -> String {
        let files: serde_json::Map<String, serde_json::Value> =
            files.iter().map(|(name, text)| ((*name).to_owned(), json!(STANDARD.encode(text)))).collect();
        STANDARD.encode(json!(files).to_string())
    }

    const PASCAL: &str = r#"{"AgentId":"18","AgentName":"arc-x7","Ephemeral":"True","GitHubUrl":"https://github.com/octo-org","WorkFolder":"_work"}"#;
    const CAMEL: &str = r#"{"agentName":"one","gitHubUrl":"https://ghe.example.com:8443/octo/heavy"}"#;

    #[test]
    fn for_whom_it_is_is_githubs_to_say() {
        let read = |settings: &str, given: &[(&str, &str)]| {
            let jit = JitConfig::parse(&config(&[(".runner", settings), (".credentials", "{}")])).unwrap();
            let given = |name: &str| {
                given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            Environment::read(|name| jit.variable(name).or_else(|| given(name))).unwrap()
        };
        let environment = read(PASCAL, &[("GITHUB_OWNER", "mallory"), ("GITHUB_REPOSITORY", "evil")]);
        assert_eq!(
            (environment.scope.to_string().as_str(), environment.name.as_str()),
            ("octo-org", "arc-x7")
        );
        assert!(environment.ephemeral && environment.collection.is_none());
        let environment = read(CAMEL, &[("GITHUB_ORGANIZATION", "mallory")]);
        assert_eq!(environment.scope.to_string(), "octo/heavy");
        assert_eq!(environment.server.as_str(), "https://ghe.example.com:8443/");
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for (text, why) in [
            ("%%%".to_owned(), "not base64"),
            (STANDARD.encode("[]"), "no object of files"),
            (config(&[(".credentials", "{}")]), "no .runner"),
            (config(&[(".runner", CAMEL)]), "no .credentials"),
            (config(&[(".runner", "[]"), (".credentials", "{}")]), "no object"),
            (
                config(&[(".runner", CAMEL), (".credentials", "{}"), ("../../etc/passwd", "x")]),
                "file of its own",
            ),
            (
                config(&[(".runner", CAMEL), (".credentials", "{}"), (".runner_migrated", "x")]),
                "file of its own",
            ),
            (
                config(&[
                    (".runner", r#"{"gitHubUrl":"https://github.com/enterprises/x"}"#),
                    (".credentials", "{}"),
                ]),
                "no repository and no organisation",
            ),
        ] {
            let error = JitConfig::parse(&text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
