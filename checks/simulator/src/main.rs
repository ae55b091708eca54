//! One program, several names: the simulator's own commands, and the stand-in of GitHub's runner when it is
//! called `Runner.Listener` or `Runner.Worker`.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use simulator::runner;

/// What stands in for GitHub's runner, in demonstrations and tests
#[derive(Parser)]
enum Command {
    /// Write the stand-in runner into a folder, as the real one's archive unpacks
    InstallRunner { folder: PathBuf },
}

fn main() -> ExitCode {
    if let Some(code) = runner::called() {
        return code;
    }
    let Command::InstallRunner { folder } = Command::parse();
    match runner::install(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
