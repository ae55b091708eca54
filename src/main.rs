use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match vega_builder::cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("vega-builder: {error:#}");
            ExitCode::FAILURE
        }
    }
}
