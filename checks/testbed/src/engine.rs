//! podman or docker as a person uses it: to look, and to do harm.

use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// An engine's command line.
#[derive(Debug, Clone)]
pub struct Engine(String);

impl Engine {
    pub fn new(program: &str) -> Self {
        Self(program.to_owned())
    }

    pub fn program(&self) -> &str {
        &self.0
    }

    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Command::new(&self.0).args(arguments).output().with_context(|| format!("{} {arguments:?}", self.0))
    }

    /// The output of a command that must succeed.
    pub fn said(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(arguments)?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} {arguments:?}: {complaint}", self.0);
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Everything the engine knows of a container, as text; empty when there is none.
    pub fn inspect(&self, name: &str) -> String {
        self.said(&["container", "inspect", name]).unwrap_or_default()
    }

    /// One fact of it.
    pub fn fact(&self, name: &str, pointer: &str) -> anyhow::Result<Value> {
        let list: Value = serde_json::from_str(&self.inspect(name)).context("there is no such container")?;
        list[0].pointer(pointer).cloned().with_context(|| format!("{pointer} is not in inspect's answer"))
    }

    pub fn exists(&self, name: &str) -> bool {
        self.run(&["container", "inspect", name]).is_ok_and(|output| output.status.success())
    }

    /// The container's first process, as this machine numbers it.
    pub fn pid(&self, name: &str) -> anyhow::Result<u32> {
        Ok(u32::try_from(self.fact(name, "/State/Pid")?.as_u64().unwrap_or_default())?)
    }

    pub fn containers(&self) -> anyhow::Result<Vec<String>> {
        let list = self.said(&["ps", "--all", "--format", "{{.Names}}"])?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    pub fn volumes(&self) -> anyhow::Result<Vec<String>> {
        let list = self.said(&["volume", "ls", "--format", "{{.Name}}"])?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    pub fn logs(&self, name: &str) -> String {
        let output = self.run(&["logs", "--tail", "30", name]);
        let both = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        format!("the container's log:\n{}", String::from_utf8_lossy(&both))
    }
}
