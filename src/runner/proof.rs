//! The caps, read back from the container's own cgroup: after a reboot no `up` is there to do it.

use crate::{
    engine::{Error, InForce, Limit},
    value::Caps,
};

/// What the container can see of its own caps.
pub enum Proof {
    InForce,
    /// No cgroup tree is mounted in here; the host proves it from outside.
    Unseen(String),
}

/// An error names the caps that are not in force.
pub fn prove(asked: &Caps) -> Result<Proof, String> {
    let found = match InForce::of(std::process::id()) {
        Ok(found) => found,
        Err(why) => return Ok(Proof::Unseen(why.to_string())),
    };
    if [found.memory_max, found.cpu_max, found.pids_max].iter().all(|limit| *limit == Limit::Absent) {
        return Ok(Proof::Unseen("the cgroup that is mounted here has no limits' files".to_owned()));
    }
    match found.prove(asked) {
        Ok(()) => Ok(Proof::InForce),
        Err(Error::CapsNotInForce { missing }) => Err(format!(
            "the caps are not in force: {}; this runner does not listen without them: type `vega-builder doctor` on the host",
            missing.join(", ")
        )),
        Err(other) => Err(other.to_string()),
    }
}
