//! `seccomp`: the profile that our containers get, for engines that we do not drive.

use std::process::ExitCode;

use crate::engine::SeccompProfile;

/// Print the seccomp profile of the runner's container
///
/// The host's own default profile for containers, with the two calls more that Nix's build sandbox needs. `up` and `install`
/// give it to their containers by themselves; a kubelet reads it from its folder `seccomp` (docs/kubernetes.md).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder seccomp > /var/lib/kubelet/seccomp/vega-builder.json")]
pub struct Seccomp {}

impl Seccomp {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        println!("{}", SeccompProfile::from_host()?);
        Ok(ExitCode::SUCCESS)
    }
}
