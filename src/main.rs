use std::process::ExitCode;

use clap::Parser as _;
use vega_builder::{cli::Cli, exit};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("vega-builder: {error:#}");
            ExitCode::from(exit::kind(&error) as u8)
        }
    }
}
