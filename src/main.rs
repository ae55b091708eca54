use std::process::ExitCode;

use clap::Parser as _;
use vega_builder::{
    cli::Cli,
    exit,
    progress::{Output, Progress},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = cli.output();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            let (message, code) = (format!("{error:#}"), exit::kind(&error) as u8);
            if output == Output::Json {
                Progress::failure(&message, code);
            }
            anstream::eprintln!("vega-builder: {message}");
            ExitCode::from(code)
        }
    }
}
