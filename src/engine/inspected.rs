//! What an engine says of a container that exists.

use serde_json::Value;

use super::{
    Cli, Error,
    cli::Answer,
    container::{FINGERPRINT_LABEL, SLOT_LABEL},
};
use crate::{contract, value::Caps};

/// Whether a container exists and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Created,
    Running,
    Stopped,
}

/// What the engine says of a container that exists.
#[derive(Debug, Clone)]
pub struct Inspected {
    pub id: String,
    pub status: Status,
    /// The first process on the host; 0 when none runs.
    pub pid: u32,
    /// 64 hex digits.
    pub image_id: String,
    /// Empty when it is not ours.
    pub fingerprint: String,
    pub started_at: String,
    pub restarts: u64,
    /// Where it takes one job: which of its runner's slots that is.
    pub slot: Option<u32>,
    /// The caps that it was made with, where it was told of them.
    pub caps: Option<Caps>,
}

impl Inspected {
    /// The caps that the kernel must hold it to: those that are declared, but for a job, which goes on with its own.
    pub fn asked(&self, declared: Caps) -> Caps {
        self.slot.and(self.caps).unwrap_or(declared)
    }
}

impl Cli {
    /// The container of this name, when there is one.
    pub fn inspect(&self, name: &str) -> Result<Option<Inspected>, Error> {
        let arguments = ["container", "inspect", name];
        let output = match self.ask(&arguments, &["no such container"])? {
            Answer::Is(output) => output,
            Answer::IsNot => return Ok(None),
        };
        let answer = |why: String| Error::Answer { command: self.command_line(&arguments), why };
        let list: Value = serde_json::from_slice(&output.stdout).map_err(|why| answer(why.to_string()))?;
        let container = list.get(0).ok_or_else(|| answer("the list is empty".to_owned()))?;
        // An engine takes the first digits of an id for a name, too.
        let is_named = container["Name"].as_str().is_some_and(|found| found.trim_start_matches('/') == name);
        Ok(is_named.then(|| inspected(container)))
    }
}

/// A variable of a container's.
fn told(container: &Value, name: &str) -> Option<String> {
    let all = container.pointer("/Config/Env")?.as_array()?;
    let mut values = all.iter().filter_map(|one| one.as_str()?.split_once('='));
    values.find(|(of, _)| *of == name).map(|(_, value)| value.to_owned())
}

/// Whether that process is there, and in the container's own cgroup.
fn is_its(pid: u32, id: &str) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
    pid != 0 && !id.is_empty() && groups.is_ok_and(|groups| groups.contains(id))
}

fn inspected(container: &Value) -> Inspected {
    let text =
        |pointer: &str| container.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| container.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let pid = u32::try_from(number("/State/Pid")).unwrap_or_default();
    let status = match text("/State/Status").as_str() {
        "running" | "restarting" | "paused" => Status::Running,
        // Under a stop with patience its job goes on. Podman says so for ever of one whose conmon was killed meanwhile.
        "stopping" if is_its(pid, &text("/Id")) => Status::Running,
        "created" | "configured" | "initialized" => Status::Created,
        _ => Status::Stopped,
    };
    let labels = container.pointer("/Config/Labels");
    let label = |name: &str| labels.and_then(|labels| labels.get(name)).and_then(Value::as_str);
    Inspected {
        id: text("/Id"),
        status,
        pid,
        image_id: text("/Image").trim_start_matches("sha256:").to_owned(),
        fingerprint: label(FINGERPRINT_LABEL).unwrap_or_default().to_owned(),
        caps: told(container, contract::env::CAPS).and_then(|value| Caps::of_variable(&value)),
        slot: label(SLOT_LABEL).and_then(|slot| slot.parse().ok()),
        started_at: text("/State/StartedAt"),
        restarts: number("/RestartCount"),
    }
}
