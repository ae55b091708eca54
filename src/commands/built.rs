//! What Nix calls after every build inside the runner's container.

use std::{env, fs, path::Path, process::ExitCode};

use jiff::Timestamp;

use crate::{
    cache::queue::{Entry, Job, Put, Queue},
    contract,
    store::Configuration,
};

/// Queue a build for its upload
///
/// Nix's daemon calls this after every build that went well, as root, with the build's names in DRV_PATH and OUT_PATHS.
/// Whatever comes of it, the build has succeeded.
#[derive(Debug, clap::Args)]
pub struct Built {}

/// Where Nix looks for links that hold store paths; it takes away those that lead nowhere by itself.
const GC_ROOTS: &str = "/nix/var/nix/gcroots/auto";

impl Built {
    pub fn run(self) -> ExitCode {
        let variable = |name: &str| env::var(name).unwrap_or_default();
        let drv = variable("DRV_PATH");
        let mut outputs: Vec<String> = variable("OUT_PATHS").split_whitespace().map(str::to_owned).collect();
        if outputs.is_empty() {
            // Nix 2.8, which Debian 12 has, leaves them out.
            outputs = fs::read_to_string(&drv).map(|text| outputs_of(&text)).unwrap_or_default();
        }
        let queue = Queue::here();
        let entry = Entry {
            drv,
            outputs,
            ended: Timestamp::now(),
            sandbox: Configuration::has_sandbox(),
            job: Job::read(Path::new(contract::JOB)),
        };
        match queue.put(&entry, Path::new(GC_ROOTS)) {
            Ok(Put::Queued) => {}
            Ok(Put::Dropped) => eprintln!("vega-builder: the queue is full, and this build is not pushed"),
            Err(why) => eprintln!("vega-builder: this build is not pushed: {why}"),
        }
        ExitCode::SUCCESS
    }
}

/// The outputs that a derivation names: the first list of it, `[("out","/nix/store/…","",""),…]`. One that is named by its
/// content has no path there yet.
fn outputs_of(derivation: &str) -> Vec<String> {
    let list = derivation.strip_prefix("Derive([").and_then(|rest| rest.split_once(']'));
    let Some((list, _)) = list else { return Vec::new() };
    let outputs = list.split("),(").filter_map(|output| output.split('"').nth(3));
    outputs.filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::outputs_of;

    #[test]
    fn a_derivations_outputs_are_read_from_itself() {
        let text = r#"Derive([("dev","/nix/store/a-x-dev","",""),("out","/nix/store/b-x","","")],[("/nix/store/c.drv",["out"])],[],"x86_64-linux","/bin/sh",[],[])"#;
        assert_eq!(outputs_of(text), ["/nix/store/a-x-dev", "/nix/store/b-x"]);
        assert!(outputs_of(r#"Derive([("out","","r:sha256","")],[],[])"#).is_empty());
        assert!(outputs_of("").is_empty());
    }
}
