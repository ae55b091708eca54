//! What to type about a runner: the one command that its kind takes.

use std::path::PathBuf;

use super::{Identity, Installation};
use crate::value::Labels;

impl Installation {
    /// The file with its settings, where there is one.
    pub fn file(&self) -> Option<PathBuf> {
        [self.declaration.clone(), self.settings()].into_iter().find(|file| file.exists())
    }

    /// What makes it whole again with the settings that it has: a start verifies, lays a damaged store anew, and proves the
    /// caps.
    pub fn to_make_whole(&self) -> String {
        let (name, settings) = (&self.name, self.settings());
        if self.is_declared() {
            format!("systemctl restart vega-builder-{name}")
        } else if settings.exists() {
            format!("vega-builder up --config {} --name {name}", settings.display())
        } else {
            let scope = self.scope().map_or_else(|| "OWNER/REPO".to_owned(), |scope| scope.argument());
            format!("vega-builder up {scope} --name {name}")
        }
    }

    /// What takes it away.
    pub fn to_take_away(&self) -> String {
        let verb = if self.is_installed() && !self.is_on_host() { "uninstall" } else { "down" };
        format!("vega-builder {verb} {}", self.name)
    }

    /// What changes its settings, or takes over what another one has.
    pub fn to_change(&self) -> &'static str {
        if self.is_on_host() {
            "`vega-builder up --host` changes it"
        } else if self.is_installed() {
            "`vega-builder install` changes it"
        } else {
            "change it in this system's configuration"
        }
    }

    /// Why there is nothing of it yet, of one that a unit is to start.
    pub fn never_started(&self, is_ephemeral: bool) -> String {
        let name = &self.name;
        let journal = format!("`journalctl -u vega-builder-{name}`");
        if is_ephemeral {
            format!("see {journal}")
        } else {
            format!("type `vega-builder register {name}`, or see {journal}")
        }
    }
}

impl Identity {
    /// What shows line by line how a stranger reaches it from this repository.
    pub fn to_lint(&self, repository: &str) -> String {
        let usual = self.labels.same_set(&Labels::usual());
        let is_github = self.server.host_str() == Some("github.com");
        let labels = if usual { String::new() } else { format!(" --labels {}", self.labels) };
        let group = self.group.as_ref().map_or_else(String::new, |group| format!(" --group '{group}'"));
        let server = if is_github { String::new() } else { format!(" --github-url {}", self.server) };
        format!("vega-builder lint {repository} --all-branches{labels}{group}{server}")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::installation::Places;

    #[test]
    fn each_kind_of_runner_has_its_own_commands() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        let runner = places.installation(&"vega-x".parse().unwrap());
        fs::create_dir_all(&runner.state).unwrap();
        fs::create_dir_all(runner.declaration.parent().unwrap()).unwrap();

        let settings = runner.settings();
        assert_eq!(runner.to_make_whole(), "vega-builder up OWNER/REPO --name vega-x");
        fs::write(&settings, "").unwrap();
        assert_eq!(
            runner.to_make_whole(),
            format!("vega-builder up --config {} --name vega-x", settings.display())
        );
        assert_eq!(runner.to_take_away(), "vega-builder down vega-x");

        fs::write(&runner.declaration, "# vega-builder install\n").unwrap();
        assert_eq!(runner.to_make_whole(), "systemctl restart vega-builder-vega-x");
        assert_eq!(runner.to_take_away(), "vega-builder uninstall vega-x");
        assert_eq!(runner.to_change(), "`vega-builder install` changes it");

        fs::write(&runner.declaration, "# vega-builder up\n").unwrap();
        assert_eq!(runner.to_take_away(), "vega-builder down vega-x");
        assert_eq!(runner.to_change(), "`vega-builder up --host` changes it");

        fs::write(&runner.declaration, "").unwrap();
        assert_eq!(runner.to_make_whole(), "systemctl restart vega-builder-vega-x");
        assert_eq!(runner.to_change(), "change it in this system's configuration");
        assert!(!runner.never_started(true).contains("register"));
        assert!(runner.never_started(false).contains("`vega-builder register vega-x`"));
    }
}
