//! An engine's command line: run it, read its answer, tell its reason when it fails.

use std::{
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use super::{Container, Error};
use crate::{secrecy, value::RunnerName};

/// What podman and docker do differently.
pub trait Engine: Send + Sync {
    /// The program's name, for the person and for the command line.
    fn program(&self) -> &'static str;
    /// Options of `create` for least privileges: user namespace, unmasked /proc, seccomp profile.
    fn isolation(&self, container: &Container) -> Vec<String>;
    /// Options of a bind mount beside its source and destination.
    fn mount_options(&self) -> &'static str {
        ""
    }
    /// What `info` is asked for who manages cgroups.
    fn cgroup_manager(&self) -> &'static str;
    /// What `info` is asked for where volumes are.
    fn volumes_folder(&self) -> &'static str;
    /// The restart policy that survives a crash; a reboot is another matter (see `boot`).
    fn restart_policy(&self) -> &'static str {
        "unless-stopped"
    }
    /// Have a restart that is due happen now, so that what is seen afterwards stays so.
    fn settle(&self, _: &Cli, _: &RunnerName) {}
}

/// An engine's command line.
#[derive(Clone)]
pub struct Cli {
    pub(super) engine: Arc<dyn Engine>,
    right: Option<Arc<OwnedFd>>,
}

/// The commands that change what is there and leave no process behind when they end.
const CHANGING: [&str; 5] = ["create", "cp", "rename", "rm", "volume"];

/// What an engine says of a thing that it was asked about.
pub(super) enum Answer {
    Is(Output),
    /// It has no such thing; any other failure is an error, or "the daemon is down" would read as "it is gone".
    IsNot,
}

impl Cli {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, right: None }
    }

    /// The same, whose changing commands hold a lock as long as they last. When we are killed they go on, and
    /// whoever comes next finds what they leave, instead of changing the same things beside them.
    #[must_use]
    pub fn holding(&self, right: OwnedFd) -> Self {
        Self { engine: Arc::clone(&self.engine), right: Some(Arc::new(right)) }
    }

    /// The same, holding nothing.
    #[must_use]
    pub fn letting_go(&self) -> Self {
        Self { engine: Arc::clone(&self.engine), right: None }
    }

    pub fn program(&self) -> &'static str {
        self.engine.program()
    }

    /// Whether containers live in systemd's slices.
    pub fn has_slices(&self) -> Result<bool, Error> {
        Ok(self.run(&["info", "--format", self.engine.cgroup_manager()])? == "systemd")
    }

    /// The first number of its version.
    pub fn major_version(&self) -> Result<u32, Error> {
        let version = self.run(&["version", "--format", "{{.Client.Version}}"])?;
        Ok(version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default())
    }

    /// Run the engine and give its standard output; its standard error is the reason when it fails.
    pub fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Result<String, Error> {
        let output = self.output(arguments)?;
        if !output.status.success() {
            return Err(self.failed(arguments, &output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// The same for what may take minutes: ended when the future is dropped.
    pub async fn run_long<S: AsRef<str>>(&self, arguments: &[S]) -> Result<String, Error> {
        self.run_long_in(None, arguments).await
    }

    /// The same in a folder.
    pub async fn run_long_in<S: AsRef<str>>(
        &self,
        folder: Option<&Path>,
        arguments: &[S],
    ) -> Result<String, Error> {
        let mut command = self.command(arguments);
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        let mut command = tokio::process::Command::from(command);
        let output =
            command.kill_on_drop(true).output().await.map_err(|why| self.no_start(arguments, &why))?;
        if !output.status.success() {
            return Err(self.failed(arguments, &output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Ask after one thing; `missing` is how this engine says that it is not there, in lower case.
    pub(super) fn ask<S: AsRef<str>>(&self, arguments: &[S], missing: &[&str]) -> Result<Answer, Error> {
        let output = self.output(arguments)?;
        if output.status.success() {
            return Ok(Answer::Is(output));
        }
        let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
        if missing.iter().any(|words| text.contains(words)) {
            return Ok(Answer::IsNot);
        }
        Err(self.failed(arguments, &output))
    }

    pub(super) fn output<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Output, Error> {
        self.command(arguments).output().map_err(|why| self.no_start(arguments, &why))
    }

    fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = secrecy::command(self.program());
        command.args(arguments.iter().map(AsRef::as_ref)).stdin(Stdio::null());
        let changes = arguments.first().is_some_and(|verb| CHANGING.contains(&verb.as_ref()));
        if let Some(right) = self.right.as_ref().filter(|_| changes)
            && let Ok(right) = right.try_clone()
        {
            command.stdin(right);
        }
        command
    }

    fn no_start<S: AsRef<str>>(&self, arguments: &[S], why: &std::io::Error) -> Error {
        Error::Failed { command: self.command_line(arguments), why: why.to_string() }
    }

    /// The words of a command for an error: enough to recognise it, without forty options.
    pub(super) fn command_line<S: AsRef<str>>(&self, arguments: &[S]) -> String {
        let words: Vec<_> =
            arguments.iter().map(AsRef::as_ref).take_while(|word| !word.starts_with("--")).collect();
        format!("{} {}", self.program(), words.join(" ")).trim_end().to_owned()
    }

    pub(super) fn failed<S: AsRef<str>>(&self, arguments: &[S], output: &Output) -> Error {
        let text = String::from_utf8_lossy(&output.stderr);
        Error::Failed { command: self.command_line(arguments), why: reason(&text) }
    }
}

/// The line that tells why: the last one that is no hint on how to get help.
fn reason(text: &str) -> String {
    let telling = |line: &&str| !line.trim().is_empty() && !line.starts_with("See '");
    let last = text.lines().rev().find(telling).unwrap_or("no reason given");
    let prefixes = ["docker: ", "Error: ", "Error response from daemon: "];
    prefixes.iter().fold(last.trim(), |line, prefix| line.trim_start_matches(prefix)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_reason_is_the_line_that_tells_it() {
        for (text, why) in [
            ("Error: no such network x\n", "no such network x"),
            (
                "docker: Error response from daemon: no space left.\nSee 'docker run --help'.\n",
                "no space left.",
            ),
            ("time=\"x\" level=warning\nError: boom\n\n", "boom"),
            ("", "no reason given"),
        ] {
            assert_eq!(reason(text), why);
        }
    }
}
