use std::process::ExitCode;

use crate::store;

/// Try whether a build sandbox could be made here: exit code 0 or 1
///
/// `vega-builder up` runs this in a one-shot container of the verified image, to see what the host's security
/// modules allow before it decides with which options the runner's container is created.
#[derive(Debug, clap::Args)]
pub struct CanSandbox {}

impl CanSandbox {
    pub fn run(self) -> ExitCode {
        match store::can_sandbox() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("vega-builder: {why}");
                ExitCode::FAILURE
            }
        }
    }
}
